//! Database snapshots: made with a slot, so that the position that they show is known exactly, and read by several sessions.
//!
//! **Position C** is the `consistent_point` of a slot that is made together with its exported snapshot; of a temporary one
//! for every snapshot but the first. Never a position read around `pg_export_snapshot`: a commit is in the log before it is
//! visible. The exporting connection is kept until a session of ours, the keeper, has imported the snapshot; the keeper
//! exports it once more, and readers import that at any time.
//!
//! **Chunks** are ranges of blocks of each relation that holds rows (`OID:from`, `OID:to`). A chunk is read in a transaction
//! of its own, so that no lock outlives it, and counts only if afterwards the relation's file is the one that the snapshot
//! shows: a rewrite makes a table look empty under an older snapshot.

mod ranges;
mod readable;
mod reader;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millrace_model::{Chunk, ChunkReader, Fault, Plan, Position, Snapshot, TableName};
use tokio::sync::Mutex;

use crate::client::connect::{Purpose, connect};
use crate::client::server_error::state;
use crate::client::session::Session;
use crate::fault::Cause;
use crate::making::{Shown, Wait};
use crate::position::Lsn;
use crate::slot::Exported;
use crate::{Shared, queries, slot, types};
use readable::{Readable, Readables};
use reader::BlockReader;

/// Blocks of a chunk: 16 MiB, small enough to be read again after a kill without regret.
const CHUNK_BLOCKS: u64 = 2048;
/// The server reads a range of blocks without reading the whole relation from this version on.
const RANGES_SINCE: u32 = 140_000;
/// How often the wait for a snapshot is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Looks before the wait is explained, and from one explanation to the next.
const FIRST_REMIND: u32 = 5;
const REMIND: u32 = 25;
/// The longest name of a slot.
const NAME_LIMIT: usize = 63;
/// The longest mark behind it: two underscores, a process, a moment.
const SUFFIX_LIMIT: usize = 2 + 8 + 12;

/// A snapshot at a known position.
pub(crate) struct PostgresSnapshot {
    shared: Arc<Shared>,
    position: Position,
    state: Mutex<State>,
    /// What was looked up under it.
    tables: Arc<Readables>,
}

enum State {
    /// The connection that made the slot still holds it.
    Exported(Exported),
    /// A session of ours holds it, under this name.
    Kept(Session, String),
    /// Neither: it is gone.
    Gone,
}

impl PostgresSnapshot {
    pub(crate) fn new(shared: Arc<Shared>, exported: Exported) -> Self {
        let position = exported.position.position();
        Self { shared, position, state: Mutex::new(State::Exported(exported)), tables: Arc::default() }
    }

    /// The name under which the snapshot can be imported, once a session of ours keeps it.
    async fn name(&self) -> Result<String, Cause> {
        let mut state = self.state.lock().await;
        self.keep(&mut state).await?;
        match &*state {
            State::Kept(_, name) => Ok(name.clone()),
            State::Exported(_) | State::Gone => Err(Cause::SnapshotGone),
        }
    }

    async fn keep(&self, state: &mut State) -> Result<(), Cause> {
        let State::Exported(exported) = &*state else { return Ok(()) };
        let mut keeper = connect(&self.shared.settings, Purpose::Queries).await?;
        import(&mut keeper, &exported.snapshot).await?;
        let name = keeper.row(queries::EXPORT).await?.text(0)?.to_owned();
        *state = State::Kept(keeper, name);
        Ok(())
    }

    async fn planned(&self, table: &TableName, done: &[(String, String)]) -> Result<Plan, Cause> {
        let mut state = self.state.lock().await;
        self.keep(&mut state).await?;
        let State::Kept(keeper, _) = &mut *state else { return Err(Cause::SnapshotGone) };
        let version = keeper.version();
        let found = self.tables.find(keeper, &self.shared.settings, table).await;
        // A lost connection ends the transaction that keeps the snapshot, and so does a statement that fails.
        if !matches!(found, Ok(_) | Err(Cause::TableGone { .. })) {
            *state = State::Gone;
        }
        Ok(plan(found?.as_ref(), done, version))
    }
}

/// Begins a transaction that sees what the snapshot saw.
async fn import(session: &mut Session, snapshot: &str) -> Result<(), Cause> {
    match session.batch(&queries::begin_under(snapshot)).await {
        Err(Cause::Statement(error)) if state::NO_SNAPSHOT.iter().any(|state| error.is(state)) => {
            Err(Cause::SnapshotGone)
        }
        begun => begun.map(drop),
    }
}

/// How a table is read.
fn plan(readable: &Readable, done: &[(String, String)], version: u32) -> Plan {
    let Readable { member, leaves } = readable;
    let relation: Vec<String> = leaves.iter().map(|leaf| format!("{}:{}", leaf.oid, leaf.file)).collect();
    let size = if version < RANGES_SINCE { u64::MAX } else { CHUNK_BLOCKS };
    let mut done_of = ranges::by_relation(done);
    let chunks = leaves.iter().flat_map(|leaf| {
        let done = done_of.remove(&leaf.oid).unwrap_or_default();
        ranges::remaining(leaf.oid, leaf.blocks, size, done)
    });
    let mut chunks: Vec<Chunk> = chunks.collect();
    if chunks.is_empty() && done.is_empty() {
        // A partitioned table without partitions: one chunk without rows says that it is read.
        chunks.push(Chunk { from: "0:0".into(), to: "0:0".into() });
    }
    let kinds = member.schema.columns.iter().map(|column| column.kind);
    Plan {
        schema: Arc::clone(&member.schema),
        relation: relation.join(" "),
        split: "ctid".into(),
        chunks,
        rows_estimate: match member.rows_estimate {
            0 => types::rows_in(leaves.iter().map(|leaf| leaf.blocks * types::BLOCK).sum(), kinds),
            analysed => analysed,
        },
    }
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    fn position(&self) -> &Position {
        &self.position
    }

    async fn plan(&self, table: &TableName, done: &[(String, String)]) -> Result<Plan, Fault> {
        Ok(self.planned(table, done).await?)
    }

    async fn reader(&self) -> Result<Box<dyn ChunkReader>, Fault> {
        let name = self.name().await?;
        let session = connect(&self.shared.settings, Purpose::Queries).await?;
        Ok(Box::new(BlockReader::new(Arc::clone(&self.shared), session, name, Arc::clone(&self.tables))))
    }
}

/// Makes a temporary slot and its snapshot, and tells `bound` what is known of its position meanwhile.
///
/// The position is the end of a record that lists the running transactions (`SnapBuildFindSnapshot`). While a transaction
/// runs that ran before the making began, or that the making was seen to wait for, every such record lists it, and none of
/// them can be the one: the position lies beyond what the log's end was a moment before that transaction was seen to run.
pub(crate) async fn make(shared: &Arc<Shared>, bound: &(dyn Fn(Position) + Sync)) -> Result<PostgresSnapshot, Cause> {
    let settings = &shared.settings;
    let mut session = connect(settings, Purpose::Queries).await?;
    session.batch(&queries::end_temporary_slots(temporary_prefix(&settings.slot))).await?;
    let name = temporary_name(&settings.slot);
    let mut blockers = running(&mut session, &name).await?.transactions;
    let sender = connect(settings, Purpose::Replication).await?;
    let mut making = std::pin::pin!(slot::make_temporary(sender, &name));
    let (mut looks, mut wait) = (0u32, Wait::default());
    let exported = loop {
        match tokio::time::timeout(LOOK, &mut making).await {
            Ok(exported) => break exported?,
            Err(_) => {
                let now = running(&mut session, &name).await?;
                wait.see(now.slot)?;
                blockers.extend(now.awaited);
                blockers.retain(|transaction| now.transactions.contains(transaction));
                if let Some(end) = now.end.filter(|_| !blockers.is_empty()) {
                    bound(end.position());
                }
                if looks % REMIND == FIRST_REMIND {
                    slot::remind(&mut session, settings).await?;
                }
                looks += 1;
            }
        }
    };
    let snapshot = PostgresSnapshot::new(Arc::clone(shared), exported);
    // From here on the keeper holds it, and the temporary slot is gone: it would hold the server's log back.
    snapshot.name().await?;
    Ok(snapshot)
}

/// What runs on the server.
struct Running {
    /// The slot.
    slot: Shown,
    end: Option<Lsn>,
    /// What the making of the slot waits for.
    awaited: Vec<u32>,
    transactions: HashSet<u32>,
}

async fn running(session: &mut Session, slot: &str) -> Result<Running, Cause> {
    let lists = session.batch(&queries::running(slot)).await?;
    let [slot, end, awaited, transactions] = lists.as_slice() else {
        return Err(Cause::Answer("the running transactions"));
    };
    let slot =
        slot.first().map_or(Shown::Absent, |row| if row.truth(0) { Shown::Complete } else { Shown::InTheMaking });
    Ok(Running {
        slot,
        end: end.first().and_then(|row| row.get(0)).and_then(Lsn::parse),
        awaited: awaited.iter().map(|row| row.number(0)).collect::<Result<_, _>>()?,
        transactions: transactions.iter().map(|row| row.number(0)).collect::<Result<_, _>>()?,
    })
}

/// A name that no other process uses.
#[expect(clippy::disallowed_methods, reason = "it only makes a name that no other process uses")]
fn temporary_name(slot: &str) -> String {
    let mark = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}_{:x}_{:x}", temporary_prefix(slot), std::process::id(), mark & 0xFFFF_FFFF_FFFF)
}

/// What the names of all our temporary slots begin with. Names of slots are ASCII.
fn temporary_prefix(slot: &str) -> &str {
    slot.get(..NAME_LIMIT - SUFFIX_LIMIT).unwrap_or(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_slots_name_is_never_too_long() {
        for slot in ["s".to_owned(), "s".repeat(NAME_LIMIT)] {
            let name = temporary_name(&slot);
            assert!(name.len() <= NAME_LIMIT && name.starts_with(temporary_prefix(&slot)), "{name}");
        }
    }
}
