//! Tests of the files target from the outside: through its ports, over a store in memory and one on disk.

mod chain;
mod contract;
mod head;
mod lake;
mod round;
