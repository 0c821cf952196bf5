//! The open round in memory: what the log appends to, one set of column builders a table.
//!
//! A decoder calls `begin`, then for each change `row` and one append a column, then `commit`. Sequences are given here, in
//! the order of arrival, which is commit order: only transactions that survived may be appended. What was appended since
//! the last boundary (a partial transaction) never leaves: `take_ready` and `take_all` work at boundaries, and
//! `take_whole` cuts it off.
//!
//! A log may also hand over transactions that are still in progress (`in_progress`): their rows lie apart, and get their
//! sequences when the transaction's end is read, as if all of them had come then.
//!
//! Invariant: at a boundary the round holds exactly the changes after the last taken position up to `position`.

mod account;
mod frozen;
mod in_progress;
mod old;
mod open;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_schema::ArrowError;

pub use frozen::{Anew, AnewReason, Barrier, SchemaChange};
pub use in_progress::{Ended, Survivors};

use account::Account;
use frozen::Frozen;
use in_progress::InProgress;

use crate::batch::{Batch, Image, Origin, Run};
use crate::column::ColumnBuilder;
use crate::position::{Position, Sequence};
use crate::schema::{Op, TableSchema};
use crate::size::ByteSize;
use crate::time::Timestamp;

/// Memory that the marks of one transaction take, for the account of the round.
const TRANSACTION_BYTES: u64 = 96;

/// What a log says when a transaction ends.
#[derive(Clone, Debug)]
pub struct TransactionEnd {
    /// Its end, from which the log can be read on.
    pub position: Position,
    /// The source's id of it.
    pub id: Arc<str>,
    /// When it committed.
    pub commit: Timestamp,
}

/// The rows of one table since they were last taken.
#[derive(Debug)]
pub struct TableChanges {
    schema: Arc<TableSchema>,
    /// One builder a column; a row is whole when each has been appended to once.
    pub columns: Vec<ColumnBuilder>,
    ops: Vec<Op>,
    sequences: Vec<i64>,
    /// (first row, number of the transaction in the round)
    runs: Vec<(usize, usize)>,
    unavailable: Vec<(u32, u16)>,
    exact: Vec<(u32, u16, Box<str>)>,
    images: Vec<(u32, Image)>,
    /// Old rows, apart from the new ones; made with the first.
    old: Option<Box<Self>>,
    account: Account,
}

impl TableChanges {
    /// No rows of a table yet.
    pub fn new(schema: Arc<TableSchema>) -> Self {
        let columns = schema.columns.iter().map(|column| ColumnBuilder::new(column.kind)).collect();
        let account = Account::new(&schema);
        Self {
            schema,
            columns,
            ops: Vec::new(),
            sequences: Vec::new(),
            runs: Vec::new(),
            unavailable: Vec::new(),
            exact: Vec::new(),
            images: Vec::new(),
            old: None,
            account,
        }
    }

    /// The schema of these rows.
    pub fn schema(&self) -> &Arc<TableSchema> {
        &self.schema
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.ops.len()
    }

    /// Starts a row that a snapshot saw, read from `wire_bytes` bytes.
    pub fn begin_read(&mut self, wire_bytes: usize) {
        self.ops.push(Op::Read);
        self.account.row(wire_bytes as u64);
    }

    /// Appends null to a column of the current row because the log did not carry its value.
    pub fn append_unavailable(&mut self, column: usize) {
        self.unavailable.push((self.current_row(), column as u16));
        self.account.unavailable();
        if let Some(builder) = self.columns.get_mut(column) {
            builder.append_null();
        }
    }

    /// Appends null to a column of the current row because its type cannot hold the value, and keeps the source's text.
    pub fn append_exact(&mut self, column: usize, text: impl Into<Box<str>>) {
        let text = text.into();
        self.account.exact(&text);
        self.exact.push((self.current_row(), column as u16, text));
        if let Some(builder) = self.columns.get_mut(column) {
            builder.append_null();
        }
    }

    /// Takes the rows of a snapshot as a batch.
    pub fn take_snapshot(&mut self, id: u64, sequence: Sequence, position: Position) -> Result<Batch, ArrowError> {
        self.take(Origin::Snapshot { id, sequence, position })
    }

    fn current_row(&self) -> u32 {
        self.ops.len().saturating_sub(1) as u32
    }

    fn take(&mut self, origin: Origin) -> Result<Batch, ArrowError> {
        self.runs.clear();
        self.account.take();
        let old = self.take_old()?;
        Ok(Batch {
            schema: Arc::clone(&self.schema),
            columns: self.columns.iter_mut().map(ColumnBuilder::finish).collect::<Result<_, _>>()?,
            ops: std::mem::take(&mut self.ops),
            unavailable: std::mem::take(&mut self.unavailable),
            exact: std::mem::take(&mut self.exact),
            images: std::mem::take(&mut self.images),
            old,
            origin,
        })
    }
}

/// Rows that no more rows may join: their table's schema has changed, or rows of another transaction come after them.
#[derive(Debug)]
struct Aside {
    rows: TableChanges,
    /// Where they come from a transaction that was read while in progress: how they are numbered.
    survivors: Option<Arc<Survivors>>,
}

/// A transaction of the round.
#[derive(Debug)]
struct Transaction {
    base: u64,
    /// `None` while it is open.
    end: Option<TransactionEnd>,
}

/// The open round.
#[derive(Debug)]
pub struct Changes {
    /// By slot, the log's own number of a table.
    tables: Vec<Option<TableChanges>>,
    /// Slots with rows, in the order of their first row.
    dirty: Vec<usize>,
    /// Rows set aside, oldest first.
    aside: Vec<Aside>,
    in_progress: InProgress,
    frozen: Frozen,
    /// Transactions of which rows lie with the engine, with the number of rows set aside before them.
    ended: VecDeque<(usize, u32, Arc<Survivors>)>,
    transactions: Vec<Transaction>,
    in_transaction: bool,
    last_sequence: u64,
    position: Option<Position>,
    wire_bytes: u64,
    /// Memory of what has not been taken.
    held_bytes: u64,
    /// Memory that rows of the last transaction took, whether or not they were taken since.
    open_bytes: u64,
    batch_limit: ByteSize,
    batch_ready: bool,
    /// Asked for by the engine: `read` returns at the next boundary.
    pause: bool,
}

impl Changes {
    /// An empty round whose first change will be `after` + 1. A table of `batch_limit` bytes is worth taking early.
    pub fn new(after: Sequence, batch_limit: ByteSize) -> Self {
        Self {
            tables: Vec::new(),
            dirty: Vec::new(),
            aside: Vec::new(),
            in_progress: InProgress::default(),
            frozen: Frozen::default(),
            ended: VecDeque::new(),
            transactions: Vec::new(),
            in_transaction: false,
            last_sequence: after.0,
            position: None,
            wire_bytes: 0,
            held_bytes: 0,
            open_bytes: 0,
            batch_limit,
            batch_ready: false,
            pause: false,
        }
    }

    // ---- what a log calls ----

    /// Says how the table in `slot` looks from here on. Rows appended under another schema are set aside. Between `enter`
    /// and `leave` it holds for that transaction only.
    pub fn define(&mut self, slot: usize, schema: Arc<TableSchema>) {
        if let Some(transaction) = self.in_progress.current() {
            return transaction.define(slot, schema);
        }
        if self.tables.len() <= slot {
            self.tables.resize_with(slot + 1, || None);
        }
        let Some(place) = self.tables.get_mut(slot) else { return };
        if place.as_ref().is_some_and(|table| *table.schema == *schema) {
            return;
        }
        if let Some(rows) = place.replace(TableChanges::new(schema)).filter(|old| old.rows() > 0) {
            self.aside.push(Aside { rows, survivors: None });
            self.dirty.retain(|&dirty| dirty != slot);
        }
    }

    /// A transaction that survived begins.
    pub fn begin(&mut self) {
        if self.frozen.is_broken() {
            return;
        }
        self.in_transaction = true;
        self.open_bytes = 0;
        self.transactions.push(Transaction { base: self.last_sequence, end: None });
    }

    /// Starts a row of the table in `slot` with the next sequence, read from `wire_bytes` bytes. `None` where `define` has
    /// not named the slot or no transaction is open. Between `enter` and `leave` it is a row of that transaction.
    pub fn row(&mut self, slot: usize, op: Op, wire_bytes: usize) -> Option<&mut TableChanges> {
        if self.in_progress.is_current() {
            return self.in_progress.current()?.row(slot, op, wire_bytes);
        }
        if self.passes_over(slot) {
            let schema = Arc::clone(&self.tables.get(slot)?.as_ref()?.schema);
            return Some(self.frozen.discard(schema, op));
        }
        let transaction = self.transactions.len().checked_sub(1).filter(|_| self.in_transaction)?;
        let table = self.tables.get_mut(slot)?.as_mut()?;
        if table.ops.is_empty() {
            self.dirty.push(slot);
        }
        if table.runs.last().is_none_or(|&(_, last)| last != transaction) {
            table.runs.push((table.ops.len(), transaction));
        }
        self.last_sequence += 1;
        table.ops.push(op);
        table.sequences.push(self.last_sequence as i64);
        let taken = table.account.row(wire_bytes as u64);
        self.wire_bytes += wire_bytes as u64;
        self.held_bytes += taken;
        self.open_bytes += taken;
        self.batch_ready |= table.held_bytes() >= self.batch_limit.get();
        Some(table)
    }

    /// The open transaction ends.
    pub fn commit(&mut self, end: TransactionEnd) {
        if self.frozen.is_broken() {
            return;
        }
        self.in_transaction = false;
        self.position = Some(end.position.clone());
        if let Some(open) = self.transactions.last_mut() {
            if open.base == self.last_sequence {
                self.transactions.pop();
                return;
            }
            open.end = Some(end);
            self.wire_bytes += TRANSACTION_BYTES;
            self.held_bytes += TRANSACTION_BYTES;
        }
    }

    /// Between transactions the log has come to `position` without a change of ours.
    pub fn reached(&mut self, position: Position) {
        if !self.in_transaction && !self.frozen.is_broken() {
            self.position = Some(position);
        }
    }

    /// Whether a log should return to the engine now, at a boundary, with what it has appended.
    pub fn wants_return(&self) -> bool {
        self.pause || self.batch_ready || !self.ended.is_empty() || self.frozen.is_broken()
    }

    // ---- what the engine calls ----

    /// Asks the log to return at the next boundary.
    pub fn pause(&mut self, pause: bool) {
        self.pause = pause;
    }

    /// Whether the last thing appended was not the end of a transaction.
    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Where the log stands, at the last boundary.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The last sequence at the last boundary.
    pub fn sequence(&self) -> Sequence {
        match self.transactions.last() {
            Some(open) if self.in_transaction => Sequence(open.base),
            _ => Sequence(self.last_sequence),
        }
    }

    /// Ended transactions with changes since the last `take_all`.
    pub fn transactions(&self) -> u64 {
        self.transactions.iter().filter(|transaction| transaction.end.is_some()).count() as u64
    }

    /// When each of them was committed in the source.
    pub fn commit_times(&self) -> Vec<Timestamp> {
        self.transactions.iter().filter_map(|transaction| transaction.end.as_ref()).map(|end| end.commit).collect()
    }

    /// When the oldest of them was committed in the source.
    pub fn oldest_commit(&self) -> Option<Timestamp> {
        self.transactions.first().and_then(|transaction| transaction.end.as_ref()).map(|end| end.commit)
    }

    /// Bytes read into the round since the last `take_all`, whether or not they were taken as batches since.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// Memory that what still lies in the builders takes.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Memory that rows of the open transaction took so far, whether or not they were taken since.
    pub fn open_bytes(&self) -> u64 {
        if self.in_transaction { self.open_bytes } else { 0 }
    }

    /// At a boundary: the batches of the tables that have grown large enough, oldest rows first.
    pub fn take_ready(&mut self) -> Result<Vec<Batch>, ArrowError> {
        if !self.batch_ready || self.in_transaction {
            return Ok(Vec::new());
        }
        self.batch_ready = false;
        let limit = self.batch_limit.get();
        let mut batches = Vec::new();
        let mut taken = 0;
        for mut aside in std::mem::take(&mut self.aside) {
            taken += aside.rows.account.take();
            batches.extend(resolve(aside, &self.transactions)?);
        }
        for slot in std::mem::take(&mut self.dirty) {
            let Some(table) = self.tables.get_mut(slot).and_then(Option::as_mut) else { continue };
            if table.held_bytes() >= limit {
                taken += table.account.take();
                batches.push(take_resolved(table, &self.transactions)?);
            } else {
                self.dirty.push(slot);
            }
        }
        self.held_bytes = self.held_bytes.saturating_sub(taken);
        Ok(batches)
    }

    /// At a boundary: everything; the next round begins.
    pub fn take_all(&mut self) -> Result<Vec<Batch>, ArrowError> {
        debug_assert!(!self.in_transaction, "a round closes at a transaction boundary");
        let mut batches = Vec::new();
        for aside in std::mem::take(&mut self.aside) {
            batches.extend(resolve(aside, &self.transactions)?);
        }
        for slot in std::mem::take(&mut self.dirty) {
            if let Some(table) = self.tables.get_mut(slot).and_then(Option::as_mut) {
                batches.push(take_resolved(table, &self.transactions)?);
            }
        }
        self.transactions.clear();
        self.wire_bytes = 0;
        self.held_bytes = 0;
        self.batch_ready = false;
        Ok(batches)
    }

    /// How the last transaction ended, at a boundary.
    pub fn last_end(&self) -> Option<&TransactionEnd> {
        self.transactions.last().and_then(|transaction| transaction.end.as_ref())
    }

    /// Cuts off what belongs to a transaction that has not ended, for a last round before the log is left for good.
    pub fn cut_open_transaction(&mut self) {
        let Some(open) = self.transactions.len().checked_sub(1).filter(|_| self.in_transaction) else { return };
        let base = self.transactions.pop().map_or(self.last_sequence, |transaction| transaction.base);
        self.in_transaction = false;
        self.last_sequence = base;
        let aside = self.aside.iter_mut().map(|aside| &mut aside.rows);
        for table in aside.chain(self.tables.iter_mut().flatten()) {
            if let Some(&(first_row, _)) = table.runs.last().filter(|&&(_, transaction)| transaction == open) {
                table.cut(first_row);
            }
        }
        self.aside.retain(|aside| aside.rows.rows() > 0);
        let tables = &self.tables;
        self.dirty.retain(|&slot| tables.get(slot).and_then(Option::as_ref).is_some_and(|table| table.rows() > 0));
    }
}

impl TableChanges {
    /// Forgets the rows from `first_row` on. The builders keep them; `take_resolved` slices them off.
    fn cut(&mut self, first_row: usize) {
        self.runs.pop();
        self.ops.truncate(first_row);
        self.sequences.truncate(first_row);
        self.unavailable.retain(|&(row, _)| (row as usize) < first_row);
        self.exact.retain(|&(row, _, _)| (row as usize) < first_row);
        self.images.retain(|&(row, _)| (row as usize) < first_row);
    }
}

/// `None` where nothing of it survived.
fn resolve(aside: Aside, transactions: &[Transaction]) -> Result<Option<Batch>, ArrowError> {
    let Aside { mut rows, survivors } = aside;
    match survivors {
        None => take_resolved(&mut rows, transactions).map(Some),
        Some(survivors) => survivors.number(rows.take_placed()?),
    }
}

fn take_resolved(table: &mut TableChanges, transactions: &[Transaction]) -> Result<Batch, ArrowError> {
    let runs = table
        .runs
        .iter()
        .filter_map(|&(first_row, number)| {
            let transaction = transactions.get(number)?;
            let end = transaction.end.as_ref()?;
            Some(Run {
                first_row,
                base: transaction.base as i64,
                position: Arc::clone(end.position.shared()),
                id: Arc::clone(&end.id),
                commit: end.commit,
            })
        })
        .collect();
    let sequences = std::mem::take(&mut table.sequences);
    let mut batch = table.take(Origin::Stream { sequences, runs })?;
    let rows = batch.rows();
    for column in &mut batch.columns {
        if column.len() > rows {
            *column = column.slice(0, rows);
        }
    }
    Ok(batch)
}
