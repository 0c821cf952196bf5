//! Tests of the files target from the outside: through its ports, over a store in memory and one on disk.

mod chain;
mod check;
mod contract;
mod fsck;
mod head;
mod lake;
mod read;
mod round;
mod status;
mod sweep;
