//! How much memory rows take, for every decision that memory asks for.
//!
//! What the log carried is no measure of it: a null is one byte there, and in a builder as wide as any other value. So a
//! row counts with what its builders take for whatever it holds, or with the bytes that it was read from where these are
//! more. What lies beside the builders (values that were not sent or that no type holds, rows before changes) is known
//! only while a row is filled, and is counted with the next row of its table.

use super::TableChanges;
use crate::batch::Image;
use crate::schema::TableSchema;

/// An op and a sequence.
const ROW_MARKS: u64 = 9;
/// The mark of a value that was not sent.
const UNAVAILABLE_BYTES: u64 = size_of::<(u32, u16)>() as u64;
/// The mark of a value that its type cannot hold, and the head of an allocation, beside the text.
const EXACT_BYTES: u64 = size_of::<(u32, u16, Box<str>)>() as u64 + 16;
/// The mark of a row before a change.
const IMAGE_BYTES: u64 = size_of::<(u32, Image)>() as u64;

/// The account of one table's rows.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// What the builders take for a row of nothing but nulls.
    row: u64,
    bytes: u64,
    /// The part of `bytes` that the account of the round does not have yet.
    owed: u64,
}

impl Account {
    pub(super) fn new(schema: &TableSchema) -> Self {
        let bits: u64 = schema.columns.iter().map(|column| column.kind.builder_bits()).sum();
        Self { row: ROW_MARKS + bits.div_ceil(8), ..Self::default() }
    }

    /// Counts a row; returns by how much the account of the round grows.
    #[inline]
    pub(super) fn row(&mut self, wire_bytes: u64) -> u64 {
        let bytes = self.row.max(wire_bytes);
        self.bytes += bytes;
        bytes + std::mem::take(&mut self.owed)
    }

    pub(super) fn unavailable(&mut self) {
        self.beside(UNAVAILABLE_BYTES);
    }

    pub(super) fn exact(&mut self, text: &str) {
        self.beside(EXACT_BYTES + text.len() as u64);
    }

    /// What the old row was read from is in the count of its change.
    pub(super) fn old(&mut self) {
        self.beside(IMAGE_BYTES + self.row);
    }

    fn beside(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.owed += bytes;
    }

    /// The rows are taken. Returns what the account of the round has of them.
    pub(super) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.bytes) - std::mem::take(&mut self.owed)
    }
}

impl TableChanges {
    /// Memory that the rows take, apart from what their builders hold in advance while they grow.
    pub fn held_bytes(&self) -> u64 {
        self.account.bytes
    }
}

#[cfg(test)]
mod tests;
