//! Reads chunks: binary COPY of a range of blocks, straight into columns.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{ByteSize, Chunk, ChunkReader, Fault, Filled, Plan, TableChanges, TableName};

use super::{Leaf, leaves, ranges};
use crate::client::session::Session;
use crate::decode::message::Cell;
use crate::decode::reader::{Malformed, Reader};
use crate::decode::value::{self, Decoder};
use crate::fault::Cause;
use crate::members::{self, MemberTable};
use crate::{Shared, queries};

/// What a binary copy begins with; flags and the length of an extension follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// One session that imports the snapshot for each chunk anew.
pub(super) struct BlockReader {
    shared: Arc<Shared>,
    session: Session,
    snapshot: String,
    /// What was looked up under the snapshot.
    tables: HashMap<TableName, (MemberTable, Vec<Leaf>)>,
    copying: Option<Copying>,
    scratch: Vec<u8>,
}

struct Copying {
    table: TableName,
    relation: u32,
    decoders: Vec<Decoder>,
    past_header: bool,
    /// The table is no longer what was planned.
    stale: bool,
}

impl BlockReader {
    pub(super) fn new(shared: Arc<Shared>, session: Session, snapshot: String) -> Self {
        Self { shared, session, snapshot, tables: HashMap::new(), copying: None, scratch: Vec::new() }
    }

    async fn start(&mut self, plan: &Plan, chunk: &Chunk) -> Result<(), Cause> {
        let table = &plan.schema.table;
        let (relation, from, to) = ranges::blocks(chunk).ok_or(Cause::Answer("a chunk that is none of ours"))?;
        self.session.batch(&queries::begin_under(&self.snapshot)).await?;
        if !self.tables.contains_key(table) {
            let member = members::one(&mut self.session, &self.shared.settings, table).await?;
            let leaves = leaves(&mut self.session, member.oid).await?;
            self.tables.insert(table.clone(), (member, leaves));
        }
        let found = self.tables.get(table).filter(|(member, _)| member.schema.columns == plan.schema.columns);
        let found = found.and_then(|(member, leaves)| Some((member, leaves.iter().find(|leaf| leaf.oid == relation)?)));
        // Relation 0 stands for none: a partitioned table without partitions.
        let stale = found.is_none() && relation != 0;
        let mut copying = Copying { table: table.clone(), relation, decoders: Vec::new(), past_header: false, stale };
        if let Some((member, leaf)) = found {
            let (columns, decoders) = expressions(member);
            copying.decoders = decoders;
            let sql = queries::copy_blocks(&columns, (&leaf.schema, &leaf.name), (from, to), member.filter.as_deref());
            self.session.copy_out(&sql).await?;
        }
        self.copying = Some(copying);
        Ok(())
    }

    /// Appends rows until `limit` bytes were read, or the copy ends. Returns whether it has ended.
    async fn append(&mut self, rows: &mut TableChanges, limit: ByteSize) -> Result<bool, Cause> {
        let Some(copying) = &mut self.copying else { return Ok(true) };
        if copying.decoders.is_empty() {
            return Ok(true);
        }
        while rows.wire_bytes() < limit.get() {
            let Some(frame) = self.session.copied().await? else { return Ok(true) };
            let body = self.session.body(&frame);
            append_row(rows, copying, body, &mut self.scratch)
                .map_err(|what| Cause::malformed(what, format!("snapshot of {}", copying.table)))?;
            self.session.consume(&frame);
        }
        Ok(false)
    }

    /// After the copy: whether the relation is still the one that was planned.
    async fn finish(&mut self) -> Result<Filled, Cause> {
        let Some(copying) = self.copying.take() else { return Ok(Filled::Whole) };
        let same = match copying.relation {
            _ if copying.stale => false,
            0 => true,
            relation => {
                self.session.query(&queries::is_same_file(relation)).await?.first().is_some_and(|row| row.truth(0))
            }
        };
        self.session.batch("COMMIT").await?;
        Ok(if same { Filled::Whole } else { Filled::Rewritten })
    }
}

/// How each column is asked for and read: a type without a binary decoder as the server's text.
fn expressions(member: &MemberTable) -> (Vec<String>, Vec<Decoder>) {
    let both = member.schema.columns.iter().zip(&member.decoders);
    both.map(|(column, &decoder)| match decoder {
        Decoder::TextOnly => (format!("{}::text", queries::name(&column.name)), Decoder::Text),
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
