//! The source against a real server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that goes wrong panics")]

mod capture;
mod positions;
mod reading;
mod rows;
mod server;
mod slots;
mod types;
