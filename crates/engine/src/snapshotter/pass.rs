//! One database snapshot and the tables that are read under it.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_model::{Chunk, Fault, Member, PastFile, Plan, Position, Snapshot, SnapshotProgress, TableName};

use super::Snapshotter;
use super::workers::{Reading as TableReading, read_all};
use crate::fault::Cause;
use crate::requests::{Joined, Joining, Known, Reading, Request};
use crate::telemetry;

impl Snapshotter<'_> {
    /// Reads every table of `due` that needs it; those that merely join begin to count.
    pub(super) async fn pass(&mut self, known: &Known, due: &[&Member], joining: &[TableName]) -> Result<(), Fault> {
        let names: Vec<String> = due.iter().map(|member| member.schema.table.to_string()).collect();
        if !self.engine.settings.snapshot {
            let mut past = self.past(known, &names).await?;
            let tables = due.iter().map(|member| counting(member, past.remove(&member.schema.table))).collect();
            self.hold().await?;
            // The stream stands, so that it cannot have passed this one.
            let position = self.engine.source.end().await?;
            self.join(position, tables).await?;
            return Ok(());
        }
        let (snapshot, mut past) = match self.exported.take().filter(|_| joining.is_empty()) {
            // The slot was made by this process, just now: nothing has been read before.
            Some(snapshot) => (snapshot, HashMap::new()),
            // Before the stream is held, and the snapshot open: a long chain takes its time. No commit since then names
            // files that count here: of a table that joins, or of a snapshot, only this room makes some.
            None => {
                let past = self.past(known, &names).await?;
                (self.caught_up().await?, past)
            }
        };
        let mut plans = Vec::new();
        let mut tables = Vec::new();
        for member in due {
            let table = &member.schema.table;
            let before = known.snapshots.iter().find(|snapshot| snapshot.table == *table);
            let plan = snapshot.plan(table, before.map_or(&[], |before| &before.done)).await?;
            tables.push(table_joining(&plan, before, past.remove(table), joining.contains(table)));
            plans.push(plan);
        }
        let joined = self.join(snapshot.position().clone(), tables).await?;
        let readings = self.readings(snapshot.as_ref(), plans, joined).await?;
        for table in read_all(self, snapshot.as_ref(), readings).await? {
            telemetry::starts_again(&table);
        }
        Ok(())
    }

    async fn join(&self, position: Position, tables: Vec<Joining>) -> Result<Vec<Joined>, Fault> {
        self.requests.ask(|reply| Request::Join { position, tables, reply }).await
    }

    /// A snapshot of its own, once the stream has come to the log's end of now. The stream stands there until C is known
    /// and has joined, or goes on as far as the source is sure that C lies beyond: were it to pass C, changes of a joining
    /// table would be lost, and the anchor would be too high.
    async fn caught_up(&self) -> Result<Arc<dyn Snapshot>, Fault> {
        self.hold().await?;
        let (bounds, mut bound) = tokio::sync::watch::channel(None);
        let tell = |position| {
            bounds.send_replace(Some(position));
        };
        let following = async {
            while bound.changed().await.is_ok() {
                let Some(position) = bound.borrow_and_update().clone() else { continue };
                self.requests.ask(|reply| Request::Hold { position, reply }).await?;
            }
            Ok::<(), Fault>(())
        };
        tokio::select! {
            biased;
            snapshot = self.engine.source.snapshot(&tell) => snapshot,
            gone = following => Err(gone.err().unwrap_or_else(|| Cause::ReaderEnded.into())),
        }
    }

    /// Has the stream come to the log's end of now, and stand there.
    async fn hold(&self) -> Result<(), Fault> {
        let position = self.engine.source.end().await?;
        self.requests.ask(|reply| Request::Hold { position, reply }).await
    }

    /// Ends a hold that nobody else will end.
    pub(super) async fn let_go(&self) -> Result<(), Fault> {
        self.requests.send(Request::Go).await
    }

    async fn past(&self, known: &Known, names: &[String]) -> Result<HashMap<TableName, Vec<PastFile>>, Fault> {
        let mut past: HashMap<TableName, Vec<PastFile>> = HashMap::new();
        for file in self.engine.target.files_of(known.commit, Some(names)).await? {
            past.entry(file.table.clone()).or_default().push(file);
        }
        Ok(past)
    }

    /// Pairs plans with what became of their tables; one that did not go on where it was left is planned whole.
    async fn readings(
        &self,
        snapshot: &dyn Snapshot,
        plans: Vec<Plan>,
        joined: Vec<Joined>,
    ) -> Result<Vec<TableReading>, Fault> {
        let mut readings = Vec::new();
        for (mut plan, joined) in plans.into_iter().zip(joined) {
            if joined.done.is_empty() {
                plan = snapshot.plan(&plan.schema.table, &[]).await?;
            }
            if plan.chunks.is_empty() {
                // Everything was read already; only the word that it is finished is missing.
                plan.chunks.push(Chunk { from: EMPTY.into(), to: EMPTY.into() });
            }
            readings.push(TableReading::new(plan, joined));
        }
        Ok(readings)
    }
}

/// Bounds of a chunk without rows.
pub(super) const EMPTY: &str = "-";

/// A table that begins to count and is not read.
fn counting(member: &Member, past: Option<Vec<PastFile>>) -> Joining {
    let stale = past.into_iter().flatten().filter(|file| !file.removed).map(|file| file.path).collect();
    Joining { schema: Arc::clone(&member.schema), is_new: true, read: None, stale }
}

/// Of a long history `past` is most of the memory: it is gone when this returns.
fn table_joining(plan: &Plan, before: Option<&SnapshotProgress>, past: Option<Vec<PastFile>>, is_new: bool) -> Joining {
    let past = past.unwrap_or_default();
    let highest = past.iter().filter_map(|file| file.snapshot).chain(before.map(|before| before.id)).max();
    // A table that joins starts without any of its earlier files; one whose snapshot starts again without those of that
    // snapshot (it has no finished one, so these are all of its snapshot files).
    let stale = past.into_iter().filter(|file| !file.removed && (is_new || file.snapshot.is_some()));
    let stale = stale.map(|file| file.path).collect();
    let may_resume = !plan.schema.key.is_empty()
        && before.is_some_and(|before| before.relation == plan.relation && before.split == plan.split);
    let read = Reading {
        relation: plan.relation.clone(),
        split: plan.split.clone(),
        rows_estimate: plan.rows_estimate,
        fresh_id: highest.unwrap_or(0) + 1,
        may_resume,
    };
    Joining { schema: Arc::clone(&plan.schema), is_new, read: Some(read), stale }
}
