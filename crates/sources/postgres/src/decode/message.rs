//! pgoutput, protocols 1 and 2: what a message says, borrowed from the read buffer.
//!
//! PostgreSQL manual, "Logical Replication Message Formats". Values are not looked at here: a [`Tuple`] hands out cells as
//! they lie on the wire.

use crate::decode::reader::{Malformed, Reader};
use crate::position::Lsn;

/// One message of the log.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// A transaction begins.
    Begin(Begin),
    /// It ends.
    Commit(Commit),
    /// How a table looks from here on.
    Relation(Relation),
    /// A row was inserted.
    Insert {
        /// Oid of the table.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was updated.
    Update {
        /// Oid of the table.
        relation: u32,
        /// What it was before, where the log has it.
        old: Option<Old<'a>>,
        /// What it is now.
        new: Tuple<'a>,
    },
    /// A row was deleted.
    Delete {
        /// Oid of the table.
        relation: u32,
        /// What it was.
        old: Old<'a>,
    },
    /// Tables were emptied.
    Truncate(Relations<'a>),
    /// Changes of a transaction in progress follow.
    StreamStart {
        /// Its id.
        xid: u32,
    },
    /// No more of them for now.
    StreamStop,
    /// A transaction of which changes came while it was in progress has committed.
    StreamCommit(Begin, Commit),
    /// It, or a part of it, was rolled back.
    StreamAbort {
        /// The transaction.
        xid: u32,
        /// The part; the transaction's own id for all of it.
        part: u32,
    },
    /// Types, origins and logical messages: nothing for the lake.
    Other,
}

/// Start of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Where its commit record starts: what `SnapBuildXactNeedsSkip` compares with the start of decoding.
    pub(crate) commit_start: Lsn,
    /// When it committed, µs since 2000.
    pub(crate) committed: i64,
    /// Its id.
    pub(crate) xid: u32,
}

/// End of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Where its commit record ends, from which the log can be read on.
    pub(crate) end: Lsn,
}

/// A table as the log describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    /// Its oid.
    pub(crate) oid: u32,
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) table: String,
    /// `d`, `n`, `f` or `i`.
    pub(crate) identity: u8,
    /// Its published columns.
    pub(crate) columns: Vec<RelationColumn>,
}

/// A column as the log describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelationColumn {
    /// Part of the replica identity (with `f` every column is).
    pub(crate) identity: bool,
    /// Its name.
    pub(crate) name: String,
    /// Oid of its type.
    pub(crate) type_oid: u32,
    /// The type's modifier, −1 for none.
    pub(crate) modifier: i32,
}

/// An old row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Old<'a> {
    /// All columns (`O`) or those of the key only (`K`): the others are then null because they are absent.
    pub(crate) full: bool,
    /// Its cells.
    pub(crate) tuple: Tuple<'a>,
}

/// A row on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuple<'a> {
    columns: u16,
    cells: Reader<'a>,
}

/// A value on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell<'a> {
    /// `n` null, `u` unchanged and not sent, `t` text, `b` binary.
    pub(crate) form: u8,
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
}

/// Oids of tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relations<'a>(Reader<'a>);

impl<'a> Message<'a> {
    /// Reads one message.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        Self::parse_rest(kind, reader)
    }

    /// Reads one message between `StreamStart` and `StreamStop`: there, and only there, what belongs to a table or a type
    /// begins with the part (subtransaction) that it comes from.
    pub(crate) fn parse_streamed(bytes: &'a [u8]) -> Result<(Option<u32>, Self), Malformed> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let has_part = matches!(kind, b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M');
        let part = if has_part { Some(reader.u32()?) } else { None };
        Ok((part, Self::parse_rest(kind, reader)?))
    }

    fn parse_rest(kind: u8, mut reader: Reader<'a>) -> Result<Self, Malformed> {
        Ok(match kind {
            b'B' => {
                Self::Begin(Begin { commit_start: Lsn(reader.u64()?), committed: reader.i64()?, xid: reader.u32()? })
            }
            b'C' => {
                reader.take(1 + 8)?;
                Self::Commit(Commit { end: Lsn(reader.u64()?) })
            }
            b'R' => Self::Relation(Relation::parse(reader)?),
            b'I' => {
                let relation = reader.u32()?;
                expect_new(reader.u8()?)?;
                Self::Insert { relation, new: Tuple::last(reader)? }
            }
            b'U' => {
                let relation = reader.u32()?;
                let (old, marker) = match reader.u8()? {
                    kind @ (b'K' | b'O') => {
                        let tuple = Tuple::inner(&mut reader)?;
                        (Some(Old { full: kind == b'O', tuple }), reader.u8()?)
                    }
                    marker => (None, marker),
                };
                expect_new(marker)?;
                Self::Update { relation, old, new: Tuple::last(reader)? }
            }
            b'D' => {
                let relation = reader.u32()?;
                let full = match reader.u8()? {
                    b'K' => false,
                    b'O' => true,
                    _ => return Err(Malformed("a delete has no old row")),
                };
                Self::Delete { relation, old: Old { full, tuple: Tuple::last(reader)? } }
            }
            b'T' => {
                let count = reader.u32()? as usize;
                reader.take(1)?;
                let length = count.checked_mul(4).ok_or(Malformed("a truncate of too many tables"))?;
                Self::Truncate(Relations(Reader::new(reader.take(length)?)))
            }
            b'S' => Self::StreamStart { xid: reader.u32()? },
            b'E' => Self::StreamStop,
            b'c' => {
                let xid = reader.u32()?;
                reader.take(1)?;
                let (commit_start, end) = (Lsn(reader.u64()?), Lsn(reader.u64()?));
                Self::StreamCommit(Begin { commit_start, committed: reader.i64()?, xid }, Commit { end })
            }
            b'A' => Self::StreamAbort { xid: reader.u32()?, part: reader.u32()? },
            b'Y' | b'O' | b'M' => Self::Other,
            _ => return Err(Malformed("an unknown message of pgoutput")),
        })
    }
}

fn expect_new(marker: u8) -> Result<(), Malformed> {
    if marker == b'N' { Ok(()) } else { Err(Malformed("a change has no new row")) }
}

impl Relation {
    fn parse(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let oid = reader.u32()?;
        let mut schema = reader.text()?;
        if schema.is_empty() {
            schema.push_str("pg_catalog");
        }
        let table = reader.text()?;
        let identity = reader.u8()?;
        let count = reader.u16()?;
        let mut columns = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            columns.push(RelationColumn {
                identity: reader.u8()? & 1 == 1,
                name: reader.text()?,
                type_oid: reader.u32()?,
                modifier: reader.i32()?,
            });
        }
        Ok(Self { oid, schema, table, identity, columns })
    }
}

impl<'a> Tuple<'a> {
    /// The last row of a message: its end is the message's.
    fn last(mut reader: Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self { columns: reader.u16()?, cells: reader })
    }

    /// A row with more behind it: its cells are skipped to find its end.
    fn inner(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let columns = reader.u16()?;
        let mut tuple = Self { columns, cells: *reader };
        for _ in 0..columns {
            tuple.next()?;
        }
        let inner = Self { columns, cells: *reader };
        *reader = tuple.cells;
        Ok(inner)
    }

    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        usize::from(self.columns)
    }

    /// Bytes of the message behind the last cell that was read.
    pub(crate) fn bytes_left(&self) -> usize {
        self.cells.rest().len()
    }

    /// The next cell.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Cell<'a>, Malformed> {
        let form = self.cells.u8()?;
        let bytes = match form {
            b't' | b'b' => {
                let length = self.cells.u32()? as usize;
                self.cells.take(length)?
            }
            b'n' | b'u' => &[],
            _ => return Err(Malformed("an unknown form of a value")),
        };
        Ok(Cell { form, bytes })
    }
}

#[expect(clippy::copy_iterator, reason = "it borrows the message, which is copied from frame to frame")]
impl Iterator for Relations<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.0.u32().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cut_short_anywhere_is_refused_and_never_panics() {
        let mut update = vec![b'U', 0, 0, 64, 0, b'K', 0, 2, b't', 0, 0, 0, 1, b'7', b'n', b'N', 0, 2];
        update.extend([b't', 0, 0, 0, 1, b'8', b'u']);
        assert!(matches!(Message::parse(&update), Ok(Message::Update { relation: 16384, old: Some(_), .. })));
        for length in 0..18 {
            let cut = &update[..length];
            assert!(Message::parse(cut).is_err(), "{length}");
        }
    }

    #[test]
    fn an_old_row_ends_where_the_new_one_begins() {
        let mut update = vec![b'U', 0, 0, 0, 1, b'O', 0, 2, b't', 0, 0, 0, 3, b'o', b'l', b'd', b'n', b'N', 0, 1];
        update.extend([b'b', 0, 0, 0, 1, 9]);
        let Ok(Message::Update { old: Some(old), mut new, .. }) = Message::parse(&update) else { panic!("no update") };
        let mut tuple = old.tuple;
        assert!(old.full);
        assert_eq!(tuple.next(), Ok(Cell { form: b't', bytes: b"old" }));
        assert_eq!(tuple.next(), Ok(Cell { form: b'n', bytes: b"" }));
        assert_eq!(new.next(), Ok(Cell { form: b'b', bytes: &[9] }));
        assert!(new.next().is_err());
    }
}
