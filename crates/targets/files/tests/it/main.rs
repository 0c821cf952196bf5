//! Tests of the files target from the outside: through its ports, over a store in memory and one on disk.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

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
mod sweep;
