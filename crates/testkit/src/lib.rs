//! What tests stand on: fakes with fuses, real servers, workloads and independent readers. A dev-dependency only.

pub mod fuse;
pub mod scripted_source;
pub mod scripted_target;
