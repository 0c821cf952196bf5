//! Tests of the files target from the outside: through its ports, over a store in memory and one on disk.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails, one looks for what it looks for, and tasks end with their test"
)]

mod alike;
mod answered;
mod archive;
mod chain;
mod check;
mod contract;
mod forms;
mod fsck;
mod head;
mod history;
mod kept;
mod lake;
mod read;
mod round;
mod status;
mod stores;
mod sweep;
