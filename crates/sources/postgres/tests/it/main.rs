//! The source against a real server.

mod positions;
mod reading;
mod rows;
mod server;
mod slots;
mod types;
