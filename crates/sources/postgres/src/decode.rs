//! From the log's bytes to columns. Pure: no input, no output, no time.
//!
//! `reader` takes bytes apart, `message` says what a message of pgoutput is, `value` appends one cell to its column (from
//! `text`, from `binary`), `row` makes rows of the lake out of changes.

pub(crate) mod binary;
pub(crate) mod calendar;
#[cfg(test)]
mod captured;
pub(crate) mod message;
pub(crate) mod numeric;
pub(crate) mod reader;
pub(crate) mod row;
pub(crate) mod text;
pub(crate) mod value;
