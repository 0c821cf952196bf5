//! What tests, the demo and the benchmarks stand on: real databases that are thrown away, rows that keep changing, the
//! real `millrace` process under watch, and readers that know nothing of our code and say whether the lake is right.
//!
//! A development dependency only; nothing here ships. A missing program is a fault that names the line which installs
//! it, never a skip.

#![warn(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::map_err_ignore,
    clippy::wildcard_enum_match_arm,
    clippy::large_futures,
    clippy::allow_attributes_without_reason,
    clippy::print_stdout
)]
#![allow(
    clippy::must_use_candidate,
    clippy::module_name_repetitions,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::doc_markdown,
    clippy::format_push_string,
    clippy::match_same_arms,
    clippy::similar_names,
    clippy::single_match_else,
    clippy::struct_excessive_bools,
    reason = "pedantic, and more noise than help here"
)]

pub mod backlog;
pub mod crowd;
pub mod fault;
pub mod fuse;
pub mod hub;
pub mod lake;
pub mod pipeline;
pub mod postgres;
pub mod process;
pub mod scripted_source;
pub mod scripted_target;
pub mod spawn;
pub mod usage;
pub mod workload;

pub use fault::{Fault, Result};
