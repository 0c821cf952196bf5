//! The source against a real server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::let_underscore_must_use,
    reason = "a test that cannot go on fails, one looks for what it looks for, and leaves what it may"
)]

mod capture;
mod connections;
mod heard;
mod joins;
mod making;
mod many;
mod mute;
mod partitions;
mod positions;
mod publications;
mod reading;
mod rows;
mod scan;
mod server;
mod slots;
mod snapshot_position;
mod snapshots;
mod streaming;
mod types;
