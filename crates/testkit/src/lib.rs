//! What tests, the demo and the benchmarks stand on: real databases that are thrown away, rows that keep changing, the
//! real `millrace` process under watch, and readers that know nothing of our code and say whether the lake is right.
//!
//! A development dependency only; nothing here ships. A missing program is a fault that names the line which installs
//! it, never a skip.

pub mod backlog;
pub mod clouds;
pub mod crowd;
pub mod disk;
pub mod doors;
pub mod fault;
pub mod flaky;
pub mod fuse;
pub mod gate;
pub mod hub;
pub mod lake;
mod listener;
pub mod pipeline;
pub mod postgres;
pub mod process;
pub mod resumable;
pub mod scripted_source;
pub mod scripted_target;
pub mod spawn;
pub mod stores;
pub mod usage;
pub mod workload;

pub use fault::{Fault, Result};
