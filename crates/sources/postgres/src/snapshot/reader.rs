//! Reads chunks: binary COPY of a range of blocks, straight into columns.

use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{ByteSize, Chunk, ChunkReader, Fault, Filled, Plan, TableChanges, TableName};

use super::readable::{Leaf, Readable, Readables};
use super::{import, ranges};
use crate::client::server_error::state;
use crate::client::session::Session;
use crate::decode::message::Cell;
use crate::decode::reader::{Malformed, Reader};
use crate::decode::value::{self, Decoder};
use crate::fault::Cause;
use crate::members::MemberTable;
use crate::{Shared, queries};

/// What a binary copy begins with; flags and the length of an extension follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The relation of a chunk that has none.
const NO_RELATION: u32 = 0;

/// One session that imports the snapshot for each chunk anew.
pub(super) struct BlockReader {
    shared: Arc<Shared>,
    session: Session,
    snapshot: String,
    tables: Arc<Readables>,
    /// The chunk under way.
    reading: Option<Reading>,
    scratch: Vec<u8>,
}

/// A chunk under way.
struct Reading {
    table: TableName,
    /// The copy, where there is something to copy.
    copying: Option<Copying>,
    /// The table is no longer what was planned.
    stale: bool,
}

struct Copying {
    leaf: Leaf,
    decoders: Vec<Decoder>,
    past_header: bool,
}

impl BlockReader {
    pub(super) fn new(shared: Arc<Shared>, session: Session, snapshot: String, tables: Arc<Readables>) -> Self {
        Self { shared, session, snapshot, tables, reading: None, scratch: Vec::new() }
    }

    async fn start(&mut self, plan: &Plan, chunk: &Chunk) -> Result<(), Cause> {
        if self.reading.is_some() {
            return Err(Cause::Answer("a chunk that begins before the one before has ended"));
        }
        let table = &plan.schema.table;
        let (relation, from, to) = ranges::blocks(chunk).ok_or(Cause::Answer("a chunk that is none of ours"))?;
        import(&mut self.session, &self.snapshot).await?;
        // Relation 0 stands for none: a partitioned table without partitions.
        let found = if relation == NO_RELATION { None } else { self.find(plan).await? };
        let leaf = found.as_ref().and_then(|it| it.leaves.iter().find(|leaf| leaf.oid == relation));
        let mut reading = Reading { table: table.clone(), copying: None, stale: relation != NO_RELATION };
        if let Some((found, leaf)) = found.as_ref().zip(leaf) {
            let (columns, decoders) = expressions(&found.member);
            let filter = found.member.filter.as_deref();
            let sql = queries::copy_blocks(&columns, (&leaf.schema, &leaf.name), (from, to), filter);
            if self.copy(&sql, table).await? {
                let copying = Copying { leaf: leaf.clone(), decoders, past_header: false };
                reading = Reading { copying: Some(copying), stale: false, ..reading };
            }
        }
        self.reading = Some(reading);
        Ok(())
    }

    /// The table under the snapshot; `None` where it is not what was planned.
    async fn find(&mut self, plan: &Plan) -> Result<Option<Arc<Readable>>, Cause> {
        match self.tables.find(&mut self.session, &self.shared.settings, &plan.schema.table).await {
            Ok(found) => Ok(Some(found).filter(|it| it.member.schema.columns == plan.schema.columns)),
            Err(Cause::TableGone { .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Starts the copy; false where what it names has gone meanwhile.
    async fn copy(&mut self, sql: &str, table: &TableName) -> Result<bool, Cause> {
        match self.session.copy_out(sql).await {
            Err(Cause::Statement(error)) if state::GONE.iter().any(|state| error.is(state)) => Ok(false),
            // The server's function that looks whether row security applies to a role that must not be subject to it.
            Err(Cause::Denied(error)) if error.routine == "check_enable_rls" => {
                let table = match table.parts() {
                    [_, schema, table] => queries::table_name(schema, table),
                    _ => table.to_string(),
                };
                Err(Cause::RowSecurity { table, user: queries::name(&self.shared.settings.username) })
            }
            copies => copies.map(|()| true),
        }
    }

    /// Appends rows until they hold `limit` bytes of memory, or the copy ends. Returns whether it has ended.
    async fn append(&mut self, rows: &mut TableChanges, limit: ByteSize) -> Result<bool, Cause> {
        let Some(Reading { table, copying: Some(copying), .. }) = &mut self.reading else { return Ok(true) };
        while rows.held_bytes() < limit.get() {
            let frame = match self.session.copied_already()? {
                Some(frame) => frame,
                None => match self.session.copied().await? {
                    Some(frame) => frame,
                    None => return Ok(true),
                },
            };
            let body = self.session.body(&frame);
            append_row(rows, copying, body, &mut self.scratch)
                .map_err(|what| Cause::malformed(what, format!("snapshot of {table}")))?;
            self.session.consume(&frame);
        }
        Ok(false)
    }

    /// After the copy: whether the relation is still the one that was planned. The copy's lock, which stands until the end
    /// of this transaction, keeps it from changing between the two.
    async fn finish(&mut self) -> Result<Filled, Cause> {
        let Some(reading) = self.reading.take() else { return Ok(Filled::Whole) };
        let mut is_same = !reading.stale;
        if let Some(Copying { leaf, .. }) = &reading.copying {
            let sql = queries::is_unchanged(leaf.oid, (&leaf.schema, &leaf.name));
            is_same = match self.session.query(&sql).await {
                Ok(rows) => rows.first().is_some_and(|row| row.truth(0)),
                // Up to version 13 the server knows no name for what is gone, and says so with an error.
                Err(Cause::Statement(_)) => false,
                Err(cause) => return Err(cause),
            };
        }
        // Of a transaction that has failed this is the end as well.
        self.session.batch("COMMIT").await?;
        Ok(if is_same { Filled::Whole } else { Filled::Rewritten })
    }
}

/// How each column is asked for and read: a type without a binary decoder as the server's text.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other decoder reads what the column itself sends")]
fn expressions(member: &MemberTable) -> (Vec<String>, Vec<Decoder>) {
    let both = member.schema.columns.iter().zip(&member.decoders);
    both.map(|(column, &decoder)| match decoder {
        Decoder::TextOnly => (queries::as_text(&column.name), Decoder::Text),
        decoder => (queries::name(&column.name), decoder),
    })
    .unzip()
}

/// One CopyData: a row, with the header before the first and the trailer alone.
fn append_row(
    rows: &mut TableChanges,
    copying: &mut Copying,
    body: &[u8],
    scratch: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(body);
    if !copying.past_header {
        if reader.take(SIGNATURE.len())? != SIGNATURE {
            return Err(Malformed("a copy that is not binary"));
        }
        reader.take(4)?;
        let extension = reader.u32()?;
        reader.take(extension as usize)?;
        copying.past_header = true;
        if reader.is_empty() {
            return Ok(());
        }
    }
    let count = reader.u16()?;
    if count == u16::MAX {
        return Ok(());
    }
    if usize::from(count) != copying.decoders.len() {
        return Err(Malformed("a row of another number of columns than its table has"));
    }
    rows.begin_read(body.len());
    for (column, &decoder) in copying.decoders.iter().enumerate() {
        match usize::try_from(reader.i32()?) {
            Ok(length) => {
                let cell = Cell { form: b'b', bytes: reader.take(length)? };
                value::append(rows, column, decoder, cell, scratch)?;
            }
            Err(_) => value::append_null(rows, column)?,
        }
    }
    Ok(())
}

#[async_trait]
impl ChunkReader for BlockReader {
    async fn begin(&mut self, plan: &Plan, chunk: &Chunk) -> Result<(), Fault> {
        Ok(self.start(plan, chunk).await?)
    }

    async fn fill(&mut self, rows: &mut TableChanges, limit: ByteSize) -> Result<Filled, Fault> {
        if !self.append(rows, limit).await? {
            return Ok(Filled::More);
        }
        Ok(self.finish().await?)
    }
}
