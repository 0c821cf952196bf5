//! Transactions that the log hands over while they are in progress, in pieces, several by turns.
//!
//! What a transaction has gathered lies in builders of its own. A row has no sequence yet but a *place*: its number in the
//! order of arrival, over all tables of its transaction. Parts (subtransactions) may be undone while it goes on. At the end
//! the places of undone rows are taken out and the rest is numbered in order ([`Survivors`]), exactly as if the transaction
//! had come whole. What the engine has carried to disk meanwhile is numbered by the same rule when it is read back.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::BooleanArray;
use arrow_schema::ArrowError;

use super::frozen::Used;
use super::{Aside, Changes, TRANSACTION_BYTES, TableChanges, Transaction, TransactionEnd, resolve};
use crate::batch::{Batch, Origin, Run};
use crate::schema::{Op, TableSchema};

/// Memory of a part's rows of one table, beside the rows: what schemas they came under.
const PART_BYTES: u64 = 160;
/// Memory of a note on a part: that rows of it came between those of others, or that it was undone.
const NOTE_BYTES: u64 = 16;

/// All transactions in progress.
#[derive(Debug, Default)]
pub(super) struct InProgress {
    /// The one that rows are appended to now.
    current: Option<Unended>,
    waiting: Vec<Unended>,
}

/// A transaction in progress.
#[derive(Debug)]
pub(super) struct Unended {
    id: u32,
    /// By slot.
    tables: Vec<Option<Box<TableChanges>>>,
    /// Rows set aside because their table's schema changed, oldest first.
    aside: Vec<TableChanges>,
    /// Rows so far.
    places: u64,
    part: u32,
    /// Which part the rows belong to, in order of arrival: (part, rows).
    parts: Vec<(u32, u32)>,
    undone: HashSet<u32>,
    /// Schemas that were not known to the end when rows came, and what they are: (then, now).
    restated: Vec<(Arc<TableSchema>, Arc<TableSchema>)>,
    wire_bytes: u64,
    held_bytes: u64,
    /// Rows of it lie with the engine.
    is_spilled: bool,
    /// Schemas that it has rows under.
    used: Used,
}

/// Which rows of an ended transaction survived, and how they are numbered.
#[derive(Debug)]
pub struct Survivors {
    base: u64,
    count: u64,
    end: TransactionEnd,
    /// Undone places, rising, apart from each other.
    gaps: Vec<Gap>,
    restated: Vec<(Arc<TableSchema>, Arc<TableSchema>)>,
}

/// Undone places, from `first` up to, but without, `end`.
#[derive(Debug)]
struct Gap {
    first: u64,
    end: u64,
    /// How many places are undone before `end`.
    undone: u64,
}

/// An ended transaction of which rows lie with the engine.
#[derive(Debug)]
pub struct Ended {
    /// Its id.
    pub id: u32,
    /// What comes before it in the files of its tables.
    pub before: Vec<Batch>,
    /// How its rows are numbered.
    pub survivors: Arc<Survivors>,
}

impl Survivors {
    fn new(transaction: &mut Unended, base: u64, end: TransactionEnd) -> Self {
        let (mut gaps, mut next, mut undone) = (Vec::<Gap>::new(), 1, 0);
        for &(part, rows) in &transaction.parts {
            let first = next;
            next += u64::from(rows);
            if !transaction.undone.contains(&part) {
                continue;
            }
            undone += u64::from(rows);
            match gaps.last_mut() {
                Some(last) if last.end == first => (last.end, last.undone) = (next, undone),
                _ => gaps.push(Gap { first, end: next, undone }),
            }
        }
        let restated = std::mem::take(&mut transaction.restated);
        Self { base, count: transaction.places - undone, end, gaps, restated }
    }

    /// Turns the places of a batch of this transaction into sequences, without the rows that were undone; `None` where
    /// nothing is left.
    pub fn number(&self, mut batch: Batch) -> Result<Option<Batch>, ArrowError> {
        if let Some((_, now)) = self.restated.iter().find(|(then, _)| **then == *batch.schema) {
            batch.schema = Arc::clone(now);
        }
        let Origin::Stream { sequences: places, runs } = &mut batch.origin else { return Ok(Some(batch)) };
        *runs = vec![Run {
            first_row: 0,
            base: self.base as i64,
            position: Arc::clone(self.end.position.shared()),
            id: Arc::clone(&self.end.id),
            commit: self.end.commit,
        }];
        let first = places.first().map_or(0, |&place| place as u64);
        let mut gaps = self.gaps.iter().skip(self.gaps.partition_point(|gap| gap.end <= first)).peekable();
        let before = self.gaps.partition_point(|gap| gap.end <= first).checked_sub(1);
        let mut undone = before.and_then(|gap| self.gaps.get(gap)).map_or(0, |gap| gap.undone);
        let mut keep = Vec::with_capacity(places.len());
        for place in places.iter_mut() {
            let number = *place as u64;
            while let Some(gap) = gaps.next_if(|gap| gap.end <= number) {
                undone = gap.undone;
            }
            keep.push(gaps.peek().is_none_or(|gap| number < gap.first));
            *place = (self.base + number - undone) as i64;
        }
        if keep.iter().any(|stays| !stays) {
            batch.retain(&BooleanArray::from(keep))?;
        }
        Ok(Some(batch).filter(|batch| batch.rows() > 0))
    }
}

impl InProgress {
    pub(super) fn is_current(&self) -> bool {
        self.current.is_some()
    }

    pub(super) fn current(&mut self) -> Option<&mut Unended> {
        self.current.as_mut()
    }

    fn all(&self) -> impl Iterator<Item = &Unended> {
        self.current.iter().chain(&self.waiting)
    }

    fn leave(&mut self) {
        self.waiting.extend(self.current.take());
    }

    fn remove(&mut self, id: u32) -> Option<Unended> {
        let at = self.waiting.iter().position(|transaction| transaction.id == id)?;
        Some(self.waiting.swap_remove(at))
    }
}

impl Unended {
    fn new(id: u32) -> Self {
        Self {
            id,
            tables: Vec::new(),
            aside: Vec::new(),
            places: 0,
            part: id,
            parts: Vec::new(),
            undone: HashSet::new(),
            restated: Vec::new(),
            wire_bytes: 0,
            held_bytes: 0,
            is_spilled: false,
            used: Used::default(),
        }
    }

    fn part_bytes(&self) -> u64 {
        self.used.len() as u64 * PART_BYTES + (self.parts.len() + self.undone.len()) as u64 * NOTE_BYTES
    }

    pub(super) fn define(&mut self, slot: usize, schema: Arc<TableSchema>) {
        if self.tables.len() <= slot {
            self.tables.resize_with(slot + 1, || None);
        }
        let Some(place) = self.tables.get_mut(slot) else { return };
        if place.as_ref().is_some_and(|table| *table.schema == *schema) {
            return;
        }
        let old = place.replace(Box::new(TableChanges::new(schema)));
        self.aside.extend(old.filter(|old| old.rows() > 0).map(|old| *old));
    }

    pub(super) fn row(&mut self, slot: usize, op: Op, wire_bytes: usize) -> Option<&mut TableChanges> {
        let table = self.tables.get_mut(slot)?.as_mut()?;
        self.used.note(slot, self.part, &table.schema);
        self.places += 1;
        match self.parts.last_mut() {
            Some((part, rows)) if *part == self.part && *rows < u32::MAX => *rows += 1,
            _ => self.parts.push((self.part, 1)),
        }
        table.ops.push(op);
        table.sequences.push(self.places as i64);
        self.wire_bytes += wire_bytes as u64;
        self.held_bytes += table.account.row(wire_bytes as u64);
        Some(table)
    }

    /// Its rows in memory, oldest first in each table.
    fn take_rows(&mut self) -> Vec<TableChanges> {
        let mut rows = std::mem::take(&mut self.aside);
        for table in self.tables.iter_mut().flatten().filter(|table| table.rows() > 0) {
            let empty = TableChanges::new(Arc::clone(&table.schema));
            rows.push(std::mem::replace(&mut **table, empty));
        }
        self.held_bytes = 0;
        rows
    }
}

impl TableChanges {
    /// Takes rows of a transaction in progress: their places stand where the sequences will.
    pub(super) fn take_placed(&mut self) -> Result<Batch, ArrowError> {
        let sequences = std::mem::take(&mut self.sequences);
        self.take(Origin::Stream { sequences, runs: vec![Run::open(0)] })
    }
}

impl Changes {
    // ---- what a log calls ----

    /// From here on rows belong to the transaction in progress `id`, until `leave`.
    pub fn enter(&mut self, id: u32) {
        let transaction = self.in_progress.remove(id).unwrap_or_else(|| Unended::new(id));
        self.in_progress.current = Some(transaction);
    }

    /// From here on rows belong to this part of it; the first part has the transaction's own id.
    pub fn enter_part(&mut self, part: u32) {
        if let Some(transaction) = self.in_progress.current() {
            transaction.part = part;
        }
    }

    /// The next rows belong to no transaction in progress.
    pub fn leave(&mut self) {
        self.in_progress.leave();
    }

    /// A part of a transaction in progress was undone; the part that has its id is all of it.
    pub fn undo(&mut self, id: u32, part: u32) {
        if part == id {
            self.in_progress.remove(id);
        } else if let Some(transaction) = self.in_progress.waiting.iter_mut().find(|it| it.id == id) {
            transaction.undone.insert(part);
        }
    }

    /// Rows of a transaction in progress that came under the schema `then` are of `now`: only names, ids and what may be
    /// null can differ.
    pub fn restate(&mut self, id: u32, then: Arc<TableSchema>, now: Arc<TableSchema>) {
        debug_assert!(then.columns.iter().map(|column| column.kind).eq(now.columns.iter().map(|column| column.kind)));
        if let Some(transaction) = self.in_progress.waiting.iter_mut().find(|it| it.id == id) {
            transaction.restated.push((then, now));
        }
    }

    /// A transaction in progress has ended: what survived of it follows everything that was appended before.
    pub fn end(&mut self, id: u32, end: TransactionEnd) {
        debug_assert!(!self.in_transaction, "transactions end one after the other");
        let transaction = self.in_progress.remove(id);
        if self.frozen.is_broken() || transaction.as_ref().is_some_and(|it| !self.admits_all(it)) {
            return;
        }
        self.position = Some(end.position.clone());
        let Some(mut transaction) = transaction else { return };
        let survivors = Survivors::new(&mut transaction, self.last_sequence, end.clone());
        if survivors.count == 0 {
            return;
        }
        self.transactions.push(Transaction { base: self.last_sequence, end: Some(end) });
        self.last_sequence += survivors.count;
        self.wire_bytes += transaction.wire_bytes + TRANSACTION_BYTES;
        self.held_bytes += transaction.held_bytes + TRANSACTION_BYTES;
        for (slot, _) in transaction.tables.iter().enumerate().filter(|(_, table)| table.is_some()) {
            self.set_aside(slot);
        }
        let survivors = Arc::new(survivors);
        if transaction.is_spilled {
            self.ended.push_back((self.aside.len(), id, Arc::clone(&survivors)));
        }
        for rows in transaction.take_rows() {
            self.batch_ready |= rows.held_bytes() >= self.batch_limit.get();
            self.aside.push(Aside { rows, survivors: Some(Arc::clone(&survivors)) });
        }
    }

    /// Whether its tables, where rows of them survived, come as they are held to.
    fn admits_all(&mut self, transaction: &Unended) -> bool {
        let used = transaction.used.survived(&transaction.undone);
        let settled =
            |schema| transaction.restated.iter().find(|(then, _)| then == schema).map_or(schema, |(_, now)| now);
        used.map(settled).all(|schema| self.frozen.admits(schema))
    }

    /// The rows of a table that are there stay apart from those to come.
    fn set_aside(&mut self, slot: usize) {
        let Some(table) = self.tables.get_mut(slot).and_then(Option::as_mut).filter(|table| table.rows() > 0) else {
            return;
        };
        let rows = std::mem::replace(table, TableChanges::new(Arc::clone(&table.schema)));
        self.aside.push(Aside { rows, survivors: None });
        self.dirty.retain(|&dirty| dirty != slot);
    }

    // ---- what the engine calls ----

    /// Memory of what is known of the parts of transactions in progress, which stays when their rows are taken.
    pub fn part_bytes(&self) -> u64 {
        self.in_progress.all().map(Unended::part_bytes).sum()
    }

    /// Memory of the rows of transactions in progress.
    pub fn in_progress_bytes(&self) -> u64 {
        self.in_progress.all().map(|transaction| transaction.held_bytes).sum()
    }

    /// Whether a transaction is in progress, or has ended and waits for `take_ended`.
    pub fn is_in_progress(&self, id: u32) -> bool {
        self.in_progress.all().any(|transaction| transaction.id == id)
            || self.ended.iter().any(|&(_, ended, _)| ended == id)
    }

    /// Takes the rows of the largest transaction in progress out of memory: its id, and its rows with places for
    /// sequences. The log returns to the engine when it ends (`take_ended`).
    pub fn take_largest(&mut self) -> Result<Option<(u32, Vec<Batch>)>, ArrowError> {
        let all = self.in_progress.current.iter_mut().chain(&mut self.in_progress.waiting);
        let Some(largest) = all.filter(|it| it.held_bytes > 0).max_by_key(|it| it.held_bytes) else { return Ok(None) };
        largest.is_spilled = true;
        let rows = largest.take_rows();
        let batches = rows.into_iter().map(|mut rows| rows.take_placed()).collect::<Result<_, _>>()?;
        Ok(Some((largest.id, batches)))
    }

    /// At a boundary, before anything else is taken: a transaction that has ended and of which rows were taken before.
    pub fn take_ended(&mut self) -> Result<Option<Ended>, ArrowError> {
        let Some((count, id, survivors)) = self.ended.pop_front() else { return Ok(None) };
        let (mut before, mut taken) = (Vec::new(), 0);
        for mut aside in self.aside.drain(..count.min(self.aside.len())) {
            taken += aside.rows.account.take();
            before.extend(resolve(aside, &self.transactions)?);
        }
        for (later, ..) in &mut self.ended {
            *later = later.saturating_sub(count);
        }
        self.held_bytes = self.held_bytes.saturating_sub(taken);
        // What is left in memory may be taken at once.
        self.batch_ready = true;
        Ok(Some(Ended { id, before, survivors }))
    }

    /// Forgets every transaction in progress: their log is left for good.
    pub fn drop_in_progress(&mut self) {
        self.in_progress = InProgress::default();
    }
}

#[cfg(test)]
pub(super) mod tests;
