//! Many tables, in the long tier thousands: what is done once a table must cost little.

use std::time::{Duration, Instant};

use millrace_model::*;

use crate::reading::{create, resume};
use crate::scan::{named, take};
use crate::server::{Database, Server};

fn tables(count: u32) -> String {
    let columns: Vec<_> = (1..20)
        .map(|column| format!("c{column} {}", ["int", "text", "numeric(12,2)", "timestamptz"][column % 4]))
        .collect();
    format!(
        "DO $$ BEGIN FOR i IN 1..{count} LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, {})', i); END LOOP; END $$",
        columns.join(", ")
    )
}

fn insert_into_each(database: &Database<'_>, count: u32) {
    database.sql(&format!(
        "DO $$ BEGIN FOR i IN 1..{count} LOOP EXECUTE format('INSERT INTO t%s (id) VALUES (1)', i); END LOOP; END $$"
    ));
}

/// Whether the long tier runs (`cargo xtask test --all`): it makes thousands of tables, which takes the server a while.
fn is_long() -> bool {
    std::env::var_os("MILLRACE_LONG").is_some()
}

#[tokio::test]
async fn thousands_of_tables_start_within_seconds() {
    let count = if is_long() { 5000 } else { 500 };
    let server = Server::start("many", "shared_buffers = 256MB\nmax_locks_per_transaction = 1024\n");
    let database = Database::new(&server, &tables(count));
    let source = database.source();
    let mut begun = Instant::now();
    let mut lap = |what: &str| {
        eprintln!("{what}: {:?}", begun.elapsed());
        let took = begun.elapsed();
        begun = Instant::now();
        took
    };
    create(&source).await.log.close().await;
    lap("create");
    insert_into_each(&database, count);
    lap("inserts");
    let members = source.members().await.unwrap();
    assert!(members.len() == count as usize && members.iter().all(|it| it.published));
    let mut took = lap("members");
    let mut log = resume(&source, None).await;
    took += lap("take, members and open");
    let batches = log.read_all(&source).await;
    assert_eq!(batches.len(), count as usize);
    took += lap("stream");
    let snapshot = take(&source).await;
    for table in 1..=count {
        snapshot.plan(&named(&database, &format!("t{table}")), &[]).await.unwrap();
    }
    took += lap("plans");
    assert_eq!(source.discover(None).await.unwrap().len(), count as usize);
    took += lap("discover");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
