//! Reads tables under a database snapshot and shows what came as lines.

use std::sync::Arc;

use millrace_model::*;
use millrace_postgres::Postgres;

use crate::reading::shown;
use crate::server::Database;

/// A snapshot of which nobody is told anything while it is made.
pub(crate) async fn take(source: &Postgres) -> Arc<dyn Snapshot> {
    source.snapshot(&|_| {}).await.unwrap()
}

/// The full name of a table of `public`.
pub(crate) fn named(database: &Database<'_>, table: &str) -> TableName {
    TableName::new([database.name.as_str(), "public", table])
}

/// Reads one chunk to its end.
pub(crate) async fn chunk(
    reader: &mut dyn ChunkReader,
    plan: &Plan,
    chunk: &Chunk,
    rows: &mut TableChanges,
) -> Result<Filled, Fault> {
    reader.begin(plan, chunk).await?;
    loop {
        match reader.fill(rows, ByteSize::mib(64)).await? {
            Filled::More => {}
            filled => return Ok(filled),
        }
    }
}

/// The rows of all chunks of a plan, as one batch.
pub(crate) async fn batch(snapshot: &dyn Snapshot, plan: &Plan) -> Batch {
    let mut reader = snapshot.reader().await.unwrap();
    let mut rows = TableChanges::new(Arc::clone(&plan.schema));
    for next in &plan.chunks {
        assert_eq!(chunk(reader.as_mut(), plan, next, &mut rows).await.unwrap(), Filled::Whole, "{next:?}");
    }
    rows.take_snapshot(1, Sequence(0), snapshot.position().clone()).unwrap()
}

/// A whole table.
pub(crate) async fn table(snapshot: &dyn Snapshot, name: &TableName) -> Batch {
    let plan = snapshot.plan(name, &[]).await.unwrap();
    batch(snapshot, &plan).await
}

/// `(1,a)` for each row, sorted.
pub(crate) fn rows(batch: &Batch) -> Vec<String> {
    let row = |row| {
        let cells: Vec<_> = (0..batch.columns.len()).map(|column| shown(batch, row, column)).collect();
        format!("({})", cells.join(","))
    };
    let mut rows: Vec<_> = (0..batch.rows()).map(row).collect();
    rows.sort();
    rows
}

/// A whole table of `public` under a new snapshot, as lines.
pub(crate) async fn scan(database: &Database<'_>, source: &Postgres, name: &str) -> Vec<String> {
    let snapshot = take(source).await;
    rows(&table(snapshot.as_ref(), &named(database, name)).await)
}
