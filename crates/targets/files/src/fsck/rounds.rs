//! The rows of each commit: every file is what its commit says (I2), every sequence is there once (I3), and no transaction
//! is in two commits (I4).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array, RecordBatch, StringArray};

use super::{Stop, breach, damage_is};
use crate::commit_json::{CommitJson, FileJson, OpsJson};
use crate::fault::lost_task;
use crate::names::short_hash;
use crate::rows::{Wanted, batches, read_data};
use crate::settings::Form;
use crate::store::Store;

/// Transactions that are remembered: one that comes twice comes again soon, and memory is bounded.
const REMEMBERED: usize = 4_000_000;

/// How much was read.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) files: u64,
    pub(crate) rows: u64,
}

/// The commits seen so far.
pub(crate) struct Rounds {
    form: Form,
    sequence: u64,
    transactions: Transactions,
}

/// The rows of one commit's stream files.
struct RoundRows {
    form: Form,
    number: u64,
    /// The sequence of the commit before.
    before: u64,
    own: u64,
    /// One bit for each sequence in (before, own].
    seen: Vec<u64>,
    source: String,
    transactions: Transactions,
}

#[derive(Default)]
struct Transactions {
    /// By hash: the commit that has it.
    commits: HashMap<u64, u64>,
    oldest_first: VecDeque<u64>,
    hasher: RandomState,
}

impl Rounds {
    /// None, of a lake whose files have this form.
    pub(crate) fn new(form: Form) -> Self {
        Self { form, sequence: 0, transactions: Transactions::default() }
    }

    /// Checks the files of the next commit.
    pub(crate) async fn check(
        &mut self,
        store: &dyn Store,
        commit: CommitJson,
        removed: &HashSet<u128>,
    ) -> Result<Counted, Stop> {
        let (number, before, own) = (commit.commit, self.sequence, commit.checkpoint.sequence);
        self.sequence = own;
        let (gone, files): (Vec<FileJson>, Vec<FileJson>) =
            commit.files.into_iter().partition(|file| removed.contains(&short_hash(&file.path)));
        let said: u64 = gone.iter().chain(&files).map(|file| changes(&file.ops)).sum();
        if said != own - before {
            return Err(breach(
                "I3",
                format!("commit {number} has {said} changes for the sequences {before} to {own}"),
            ));
        }
        let mut rows = RoundRows {
            form: self.form,
            number,
            before,
            own,
            seen: vec![0; (own - before).div_ceil(64) as usize],
            source: commit.source.identity,
            transactions: std::mem::take(&mut self.transactions),
        };
        let mut counted = Counted::default();
        for file in files {
            counted.files += 1;
            counted.rows += file.rows;
            let bytes = read_data(store, &file).await.map_err(damage_is("I2"))?;
            let checked = tokio::task::spawn_blocking(move || {
                let result = rows.check_file(&file, bytes);
                (rows, result)
            });
            let (back, result) = checked.await.map_err(lost_task)?;
            rows = back;
            result?;
        }
        rows.check_complete(&gone)?;
        self.transactions = rows.transactions;
        Ok(counted)
    }
}

impl RoundRows {
    fn check_file(&mut self, file: &FileJson, bytes: bytes::Bytes) -> Result<(), Stop> {
        let mut ops = OpsJson::default();
        let mut last = 0;
        let mut first = None;
        for batch in batches(self.form, &file.path, bytes, None, Wanted::Own).map_err(damage_is("I2"))? {
            let batch = batch.map_err(damage_is("I2"))?;
            let columns = Columns::of(&batch)
                .ok_or_else(|| breach("I2", format!("`{}` lacks a column of the layout", file.path)))?;
            for row in 0..batch.num_rows() {
                let sequence = columns.sequence.value(row) as u64;
                count(&mut ops, columns.op.value(row));
                first.get_or_insert(sequence);
                if sequence < last || (sequence == last && file.snapshot.is_none()) {
                    return Err(breach("I3", format!("`{}` is not in the order of its sequences", file.path)));
                }
                last = sequence;
                match file.snapshot {
                    Some(id) => check_snapshot_row(file, id, &columns, row)?,
                    None => self.check_stream_row(file, &columns, row)?,
                }
            }
        }
        if ops != file.ops || changes(&ops) + ops.r != file.rows {
            return Err(breach("I2", format!("`{}` has not the rows that commit {} says", file.path, self.number)));
        }
        if (first.unwrap_or_default(), last) != (file.first_sequence, file.last_sequence) {
            return Err(breach(
                "I2",
                format!("`{}` has not the sequences that commit {} says", file.path, self.number),
            ));
        }
        Ok(())
    }

    fn check_stream_row(&mut self, file: &FileJson, columns: &Columns<'_>, row: usize) -> Result<(), Stop> {
        let (path, number) = (&file.path, self.number);
        let sequence = columns.sequence.value(row) as u64;
        if columns.op.value(row) == "r" || columns.snapshot.is_valid(row) {
            return Err(breach("I3", format!("`{path}` has a row of a snapshot among those of the stream")));
        }
        if sequence <= self.before || sequence > self.own {
            return Err(breach("I3", format!("`{path}` has the sequence {sequence}, which is not commit {number}'s")));
        }
        let bit = sequence - self.before - 1;
        if let Some(word) = self.seen.get_mut((bit / 64) as usize) {
            if *word >> (bit % 64) & 1 == 1 {
                return Err(breach("I3", format!("`{path}` has the sequence {sequence} a second time")));
            }
            *word |= 1 << (bit % 64);
        }
        let begins_after = sequence.checked_sub(columns.tx_index.value(row) as u64);
        if begins_after.is_none_or(|base| base < self.before) {
            return Err(breach(
                "I4",
                format!("`{path}` has the end of a transaction that began before commit {number}"),
            ));
        }
        let (id, position) = (columns.tx_id.value(row), columns.position.value(row));
        // Rows of one transaction follow one another.
        if row > 0 && (id, position) == (columns.tx_id.value(row - 1), columns.position.value(row - 1)) {
            return Ok(());
        }
        match self.transactions.remember(number, &self.source, id, position) {
            Some(other) => {
                Err(breach("I4", format!("transaction {id} at {position} is in commits {other} and {number}")))
            }
            None => Ok(()),
        }
    }

    /// Every sequence was seen, save those of removed files.
    fn check_complete(&self, gone: &[FileJson]) -> Result<(), Stop> {
        let mut allowed: u64 = gone.iter().map(|file| changes(&file.ops)).sum();
        for (index, &word) in self.seen.iter().enumerate() {
            let bits = (self.own - self.before - index as u64 * 64).min(64);
            let mut missing = !word & (u64::MAX >> (64 - bits));
            while missing != 0 {
                let sequence = self.before + 1 + index as u64 * 64 + u64::from(missing.trailing_zeros());
                missing &= missing - 1;
                let covers = |file: &FileJson| {
                    file.snapshot.is_none() && (file.first_sequence..=file.last_sequence).contains(&sequence)
                };
                if allowed == 0 || !gone.iter().any(covers) {
                    return Err(breach("I3", format!("commit {} lacks the sequence {sequence}", self.number)));
                }
                allowed -= 1;
            }
        }
        Ok(())
    }
}

impl Transactions {
    /// Remembers that a commit has a transaction; returns the earlier commit that has it too.
    fn remember(&mut self, number: u64, source: &str, id: &str, position: &str) -> Option<u64> {
        let hash = self.hasher.hash_one((source, id, position));
        if let Some(&other) = self.commits.get(&hash) {
            return (other != number).then_some(other);
        }
        self.commits.insert(hash, number);
        self.oldest_first.push_back(hash);
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.commits.remove(&oldest);
        }
        None
    }
}

fn check_snapshot_row(file: &FileJson, id: u64, columns: &Columns<'_>, row: usize) -> Result<(), Stop> {
    let snapshot = columns.snapshot.is_valid(row).then(|| columns.snapshot.value(row));
    let fits = columns.op.value(row) == "r" && snapshot == Some(&id.to_string());
    if fits && columns.sequence.value(row) as u64 == file.first_sequence {
        return Ok(());
    }
    Err(breach("I3", format!("`{}` has a row that is not of its snapshot", file.path)))
}

/// Our own columns that the invariants speak of.
struct Columns<'a> {
    op: &'a StringArray,
    sequence: &'a Int64Array,
    position: &'a StringArray,
    tx_id: &'a StringArray,
    tx_index: &'a Int64Array,
    snapshot: &'a StringArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let number = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>();
        Some(Self {
            op: text("_op")?,
            sequence: number("_sequence")?,
            position: text("_position")?,
            tx_id: text("_tx_id")?,
            tx_index: number("_tx_index")?,
            snapshot: text("_snapshot")?,
        })
    }
}

fn changes(ops: &OpsJson) -> u64 {
    ops.c + ops.u + ops.d + ops.t
}

fn count(ops: &mut OpsJson, op: &str) {
    match op {
        "c" => ops.c += 1,
        "u" => ops.u += 1,
        "d" => ops.d += 1,
        "t" => ops.t += 1,
        _ => ops.r += 1,
    }
}
