//! Reads a log to an end and shows what came as lines.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, cast::AsArray, types::*};
use arrow_schema::{DataType, TimeUnit};
use millrace_model::*;
use millrace_postgres::Postgres;

/// An open log with its round.
pub(crate) struct Reading {
    pub log: Box<dyn Log>,
    pub release: Arc<dyn Release>,
    pub position: Position,
    pub changes: Changes,
}

pub(crate) fn round() -> Changes {
    Changes::new(Sequence(0), ByteSize::mib(64))
}

/// First start: makes publication and slot, and opens the log.
pub(crate) async fn create(source: &Postgres) -> Reading {
    open(source, source.create().await.unwrap(), None).await
}

/// A later start, from a position.
pub(crate) async fn resume(source: &Postgres, from: Option<&Position>) -> Reading {
    open(source, held(source).await, from).await
}

/// Takes the slot, waiting for one that has just been left.
pub(crate) async fn held(source: &Postgres) -> Box<dyn Held> {
    loop {
        match source.take().await.unwrap().slot {
            Slot::Held(held) => return held,
            Slot::Busy { .. } => tokio::task::yield_now().await,
            Slot::Missing => panic!("the slot is missing"),
            Slot::Lost { reason } => panic!("the slot is lost: {reason}"),
        }
    }
}

/// Opens a held slot; every table of the pipeline file counts.
pub(crate) async fn open(source: &Postgres, held: Box<dyn Held>, from: Option<&Position>) -> Reading {
    let entry = |member: &Member| {
        Arc::new(TableEntry {
            table: member.schema.table.clone(),
            source_id: member.schema.source_id.clone(),
            key: member.schema.key_names(),
            snapshot: None,
            versions: Vec::new(),
        })
    };
    let registry = Registry::new(source.members().await.unwrap().iter().map(entry));
    let opened = held.open(from, &registry).await.unwrap();
    Reading { log: opened.log, release: opened.release, position: opened.position, changes: round() }
}

impl Reading {
    /// Reads up to the mark of `position`.
    pub(crate) async fn read_to(&mut self, position: &Position) -> Result<(), Fault> {
        let mark = self.log.watch(position, &[]);
        loop {
            match self.log.read(&mut self.changes).await? {
                Gulp::Mark(reached) | Gulp::Passed(reached) if reached == mark => return Ok(()),
                Gulp::Mark(_) | Gulp::Passed(_) | Gulp::Read => {}
            }
        }
    }

    /// Reads everything that is committed by now.
    pub(crate) async fn read_all(&mut self, source: &Postgres) -> Vec<Batch> {
        let end = source.end().await.unwrap();
        self.read_to(&end).await.unwrap();
        self.changes.take_all().unwrap()
    }

    /// The same, as lines in sequence order.
    pub(crate) async fn lines(&mut self, source: &Postgres) -> Vec<String> {
        lines(&self.read_all(source).await)
    }
}

/// `c t(1,a)` for each row, in sequence order; unsent values are `?`, exact ones `=text`.
pub(crate) fn lines(batches: &[Batch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        let Origin::Stream { sequences, .. } = &batch.origin else { panic!("not from the log") };
        let table = batch.schema.table.parts().last().unwrap();
        for (row, &sequence) in sequences.iter().enumerate() {
            let cells: Vec<_> = (0..batch.columns.len()).map(|column| shown(batch, row, column)).collect();
            let op = batch.ops[row].letter() as char;
            lines.push((sequence, format!("{op} {table}({})", cells.join(","))));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

pub(crate) fn shown(batch: &Batch, row: usize, column: usize) -> String {
    let here = (row as u32, column as u16);
    if batch.unavailable.contains(&here) {
        return "?".into();
    }
    if let Some((_, _, text)) = batch.exact.iter().find(|it| (it.0, it.1) == here) {
        return format!("={text}");
    }
    cell(&batch.columns[column], row)
}

fn cell(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".into();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => format!("{:?}", array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => format!("{:02x?}", array.as_binary::<i32>().value(row)),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Time64(TimeUnit::Microsecond) => array.as_primitive::<Time64MicrosecondType>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        other => panic!("{other} is of no column of ours"),
    }
}
