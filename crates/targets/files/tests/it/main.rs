//! Tests of the files target from the outside: through its ports, over a store in memory and one on disk.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails, and one looks for what it looks for"
)]

mod chain;
mod check;
mod contract;
mod fsck;
mod head;
mod history;
mod lake;
mod read;
mod round;
mod status;
mod stores;
mod sweep;
