//! Snapshots beside the stream, and tables that join and leave: what the pipeline file asks for is compared with what the
//! chain knows, and brought about.
//!
//! The order is what makes it exact. A table joins the publication first; then a snapshot is made whose position C lies
//! after that; the log reports C before the first transaction that ends past it; the commit at C carries the entries and
//! the anchor, and only then the first chunk can be committed. A table leaves the publication only after a commit that no
//! longer has it. A later snapshot is asked for when the stream has caught up, so that it is held open no longer than needed.

mod pass;
mod workers;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use millrace_model::{Fault, Member, Registry, Snapshot, Stager, TableEntry, TableName};

use crate::requests::{Known, Request, Requests};
use crate::retry::Backoff;
use crate::{Engine, telemetry};

pub(crate) struct Snapshotter<'a> {
    pub engine: &'a Engine,
    pub requests: Requests,
    pub stager: &'a dyn Stager,
    pub rounds: &'a AtomicU64,
    /// The snapshot that the slot's own creation exported.
    pub exported: Option<Arc<dyn Snapshot>>,
}

/// Works until the stream ends; returns only with a fault that waiting does not cure.
pub(crate) async fn run(mut snapshotter: Snapshotter<'_>) -> Result<std::convert::Infallible, Fault> {
    let mut backoff = Backoff::default();
    loop {
        let turn = snapshotter.turn().await;
        snapshotter.let_go().await?;
        match turn {
            Ok(Turn::Worked) => backoff.reset(),
            Ok(Turn::Idle) => {
                backoff.reset();
                snapshotter.requests.send(Request::Idle).await?;
                tokio::time::sleep(snapshotter.engine.settings.heartbeat_interval).await;
            }
            Err(fault) if fault.is_retry() => {
                let pause = backoff.next();
                telemetry::retrying("snapshot", &fault, pause);
                tokio::time::sleep(pause).await;
            }
            Err(fault) => return Err(fault),
        }
    }
}

enum Turn {
    Worked,
    Idle,
}

impl Snapshotter<'_> {
    /// Compares what is asked for with what is, and does one thing about it.
    async fn turn(&mut self) -> Result<Turn, Fault> {
        let members = self.engine.source.members().await?;
        let mut known = self.requests.ask(|reply| Request::Settle { reply }).await?;
        let leaving = leaving(&known.registry, &members);
        if !leaving.is_empty() {
            telemetry::leaves(&leaving);
            known = self.requests.ask(|reply| Request::Leave { tables: leaving.clone(), reply }).await?;
            let unwanted: Vec<TableName> = leaving
                .into_iter()
                .filter(|table| !members.iter().any(|member| member.schema.table == *table))
                .collect();
            self.engine.source.leave(&unwanted).await?;
        }
        let joining = joining(&known.registry, &members);
        let members = if joining.is_empty() { members } else { self.publish(&joining).await? };
        let due: Vec<&Member> = members.iter().filter(|member| self.is_due(&known, member, &joining)).collect();
        if due.is_empty() {
            return Ok(Turn::Idle);
        }
        self.pass(&known, &due, &joining).await?;
        Ok(Turn::Worked)
    }

    /// Has the log carry new tables; from then on they have their `source_id`.
    async fn publish(&mut self, joining: &[TableName]) -> Result<Vec<Member>, Fault> {
        telemetry::joins(joining);
        self.engine.source.join(joining).await?;
        self.engine.source.members().await
    }

    fn is_due(&self, known: &Known, member: &Member, joining: &[TableName]) -> bool {
        if joining.contains(&member.schema.table) {
            return member.published;
        }
        let unread = known.registry.get(&member.schema.table).is_some_and(|entry| entry.snapshot.is_none());
        self.engine.settings.snapshot && unread
    }
}

/// Tables of the registry that nobody asks for, or whose membership or key is another one by now. The log may not have come
/// to where the key changed, and may never say so where no row changes: what it still says under the old one is not needed,
/// since the table is read anew.
fn leaving(registry: &Registry, members: &[Member]) -> Vec<TableName> {
    let is_it = |member: &Member, entry: &TableEntry| {
        let schema = &member.schema;
        member.published && schema.source_id == entry.source_id && entry.has_key_of(schema)
    };
    let stays = |entry: &TableEntry| members.iter().any(|it| it.schema.table == entry.table && is_it(it, entry));
    registry.entries().filter(|entry| !stays(entry)).map(|entry| entry.table.clone()).collect()
}

/// Tables that are asked for and not in the registry.
fn joining(registry: &Registry, members: &[Member]) -> Vec<TableName> {
    members.iter().map(|member| member.schema.table.clone()).filter(|table| registry.get(table).is_none()).collect()
}
