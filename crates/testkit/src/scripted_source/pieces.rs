//! Transactions in progress, as PostgreSQL's protocol 2 hands them over: pieces of several by turns, parts that are undone,
//! transactions that never commit.
//!
//! Which pieces come is a matter of chance that is the same in every run. Whether a row counts is judged when it comes; a
//! table that joins or leaves before the transaction ends makes the log give up and be opened without pieces.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

use millrace_model::{Changes, Fault};

use super::world::LoggedRow;
use super::{ScriptedLog, ScriptedRow, ended};

/// How far ahead of the next end pieces are read.
const AHEAD: usize = 4;
/// Numbers of parts beside the transaction's own.
const PARTS: u32 = 1 << 20;
/// The transaction that never commits.
const NEVER: u32 = u32::MAX;

/// What has come so far.
pub(super) struct Pieces {
    chance: u64,
    begun: BTreeMap<u64, Begun>,
    /// The part that the next undone rows belong to.
    part: u32,
}

/// A transaction in progress, known by its end in the script.
struct Begun {
    rest: VecDeque<LoggedRow>,
    /// Tables of which rows came, and whether they counted.
    counted: BTreeMap<String, bool>,
    /// Parts that will be undone only at its end.
    doomed: Vec<u32>,
}

/// Rows to come: of which transaction, and how many.
pub(super) struct Piece {
    end: u64,
    rows: usize,
    /// With rows of a part that is undone.
    undoes: bool,
    /// With rows of the transaction that never commits.
    strays: bool,
}

impl Pieces {
    pub(super) fn new(seed: u64) -> Self {
        Self { chance: seed, begun: BTreeMap::new(), part: PARTS }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % limit.max(1)
    }
}

/// Two of three transactions come in pieces.
fn comes_in_pieces(end: u64) -> bool {
    !(end / 10).is_multiple_of(3)
}

impl ScriptedLog {
    /// The piece that comes next, if one comes before the next transaction's end.
    pub(super) fn next_piece(&mut self) -> Option<Piece> {
        let pieces = self.pieces.as_mut()?;
        let ahead: Vec<_> = {
            let state = self.grip.world.state();
            let ahead = state.log.iter().filter(|entry| entry.end > self.at).take(AHEAD);
            ahead.map(|entry| (entry.end, entry.logged())).collect()
        };
        let next = ahead.first()?.0;
        for (end, rows) in ahead.into_iter().filter(|(end, rows)| comes_in_pieces(*end) && !rows.is_empty()) {
            pieces.begun.entry(end).or_insert_with(|| Begun {
                rest: rows.into(),
                counted: BTreeMap::new(),
                doomed: Vec::new(),
            });
        }
        let must = pieces.begun.get(&next).is_some_and(|begun| !begun.rest.is_empty());
        let open: Vec<_> =
            pieces.begun.iter().filter(|(_, begun)| !begun.rest.is_empty()).map(|(end, _)| *end).collect();
        if open.is_empty() || !(must || pieces.below(2) == 0) {
            return None;
        }
        let end = *open.get(pieces.below(open.len() as u64) as usize)?;
        let (rows, undoes, strays) = (1 + pieces.below(2) as usize, pieces.below(3) == 0, pieces.below(5) == 0);
        Some(Piece { end, rows, undoes, strays })
    }

    pub(super) fn append_piece(&mut self, piece: &Piece, into: &mut Changes) -> Result<(), Fault> {
        let Some(pieces) = &mut self.pieces else { return Ok(()) };
        let Some(begun) = pieces.begun.get_mut(&piece.end) else { return Ok(()) };
        let count = piece.rows.min(begun.rest.len());
        let rows: Vec<_> = begun.rest.drain(..count).collect();
        pieces.part += 1;
        let (id, part) = (piece.end as u32, pieces.part);
        let mut counted = Vec::new();
        into.enter(id);
        for row in &rows {
            let counts = self.counts(&row.row.table);
            counted.push((row.row.table.clone(), counts));
            if !counts {
                continue;
            }
            if piece.undoes {
                into.enter_part(part);
                let undone = ScriptedRow { id: -1, ..row.row.clone() };
                self.put(&LoggedRow { row: undone, shape: row.shape }, into)?;
            }
            into.enter_part(id);
            self.put(row, into)?;
        }
        into.leave();
        if piece.strays {
            into.enter(NEVER);
            rows.iter().filter(|row| self.counts(&row.row.table)).cloned().collect::<Vec<_>>().iter().try_for_each(
                |row| {
                    into.enter_part(NEVER);
                    self.put(row, into)
                },
            )?;
            into.leave();
            if part.is_multiple_of(2) {
                into.undo(NEVER, NEVER);
            }
        }
        if piece.undoes && part.is_multiple_of(2) {
            into.undo(id, part);
        }
        if let Some(begun) = self.pieces.as_mut().and_then(|pieces| pieces.begun.get_mut(&piece.end)) {
            begun.counted.extend(counted);
            begun.doomed.extend((piece.undoes && !part.is_multiple_of(2)).then_some(part));
        }
        Ok(())
    }

    /// The transaction that ends at `end` does so now, if it came in pieces.
    pub(super) fn end_pieces(&mut self, end: u64, into: &mut Changes) -> Result<bool, Fault> {
        let Some(begun) = self.pieces.as_mut().and_then(|pieces| pieces.begun.remove(&end)) else { return Ok(false) };
        if begun.counted.iter().any(|(table, counted)| self.counts(table) != *counted) {
            self.streams.store(false, Ordering::Release);
            return Err(Fault::retry("TK-009", "a table joined or left while a transaction was in progress"));
        }
        begun.doomed.iter().for_each(|&part| into.undo(end as u32, part));
        into.end(end as u32, ended(end));
        Ok(true)
    }
}
