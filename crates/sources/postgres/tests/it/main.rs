//! The source against a real server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong panics")]

mod capture;
mod connections;
mod heard;
mod joins;
mod many;
mod positions;
mod reading;
mod rows;
mod scan;
mod server;
mod slots;
mod snapshot_position;
mod snapshots;
mod streaming;
mod types;
