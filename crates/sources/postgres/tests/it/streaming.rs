//! Transactions that the server hands over while they are in progress leave the very rows that whole ones leave.

use millrace_model::{Batch, Origin, Source};
use millrace_postgres::{Postgres, Settings};

use crate::reading::{Reading, create, resume, shown};
use crate::server::{Database, Server};

const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, v text, pad text);
    CREATE TABLE b (id int PRIMARY KEY, v text, large text);
    CREATE TABLE c (id int, v text);
    ALTER TABLE c REPLICA IDENTITY FULL;
    ALTER TABLE b ALTER large SET STORAGE EXTERNAL;";

/// A database whose server hands over what is larger than 64 kB, with a slot for each way of reading.
struct Pair<'a> {
    /// An open transaction of one test would hold up the new slot of another.
    _alone: tokio::sync::MutexGuard<'static, ()>,
    database: Database<'a>,
    streamed: Postgres,
    whole: Postgres,
}

impl Pair<'static> {
    async fn new() -> Self {
        static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let alone = ONE.lock().await;
        let database = Server::shared().database(TABLES);
        database.sql(&format!("ALTER DATABASE {} SET logical_decoding_work_mem = '64kB'", database.name));
        let streamed = database.source();
        create(&streamed).await.log.close().await;
        let slot = database.settings().slot;
        database.sql(&format!("SELECT pg_copy_logical_replication_slot('{slot}', '{slot}_whole')"));
        let settings = Settings { streaming: false, slot: format!("{slot}_whole"), ..database.settings() };
        Self { _alone: alone, database, streamed, whole: Postgres::new(settings) }
    }

    /// Reads on with `log` to the end, and everything from the other slot, and compares.
    async fn compare(&self, log: Reading) -> Vec<String> {
        let other = resume(&self.whole, None).await;
        self.compare_both(log, other).await
    }

    async fn compare_both(&self, mut log: Reading, mut other: Reading) -> Vec<String> {
        let streamed = told(&log.read_all(&self.streamed).await);
        log.log.close().await;
        let whole = told(&other.read_all(&self.whole).await);
        other.log.close().await;
        for (streamed, whole) in streamed.iter().zip(&whole) {
            assert_eq!(streamed, whole);
        }
        assert_eq!(streamed.len(), whole.len());
        whole
    }
}

/// All that is known of each row, in sequence order.
fn told(batches: &[Batch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        let Origin::Stream { sequences, runs } = &batch.origin else { panic!("not from the log") };
        for (row, &sequence) in sequences.iter().enumerate() {
            let run = runs.iter().rev().find(|run| run.first_row <= row).unwrap();
            let cells: Vec<_> = batch
                .schema
                .columns
                .iter()
                .enumerate()
                .map(|(column, named)| format!("{}#{}={}", named.name, named.id, shown(batch, row, column)))
                .collect();
            let op = batch.ops[row].letter() as char;
            let text = format!(
                "{sequence} {op} {} {} | {} {} {} {:?}",
                batch.schema.table,
                cells.join(" "),
                run.base,
                run.position,
                run.id,
                run.commit
            );
            rows.push((sequence, text));
        }
    }
    rows.sort();
    rows.into_iter().map(|(_, text)| text).collect()
}

fn insert(table: &str, first: u32, count: u32) -> String {
    let last = first + count - 1;
    format!("INSERT INTO {table} (id, v) SELECT i, repeat('x', 300) || i FROM generate_series({first}, {last}) i;")
}

/// Subtransactions, interleaved: some rolled back, one with its children, one with DDL.
fn nested(first: u32) -> String {
    let rows = |table: &str, more: u32| insert(table, first + more, 300);
    [
        rows("a", 0),
        "SAVEPOINT one;".into(),
        rows("a", 1_000),
        rows("b", 1_000),
        "SAVEPOINT two;".into(),
        rows("a", 2_000),
        "ROLLBACK TO two;".into(),
        rows("a", 2_000),
        "RELEASE one;".into(),
        "SAVEPOINT three;".into(),
        rows("b", 3_000),
        "SAVEPOINT four;".into(),
        rows("c", 4_000),
        "RELEASE four;".into(),
        "ROLLBACK TO three;".into(),
        "SAVEPOINT five; ALTER TABLE b ADD w int DEFAULT 7;".into(),
        rows("b", 5_000),
        "ROLLBACK TO five;".into(),
        rows("b", 5_000),
        rows("c", 5_000),
        format!("UPDATE a SET id = -id WHERE id BETWEEN {first} AND {first} + 200;"),
        format!("DELETE FROM b WHERE id BETWEEN {first} + 1000 AND {first} + 1050;"),
        "UPDATE c SET v = 'y';".into(),
    ]
    .join("\n")
}

#[tokio::test]
async fn a_history_read_in_progress_is_the_one_read_whole() {
    let pair = Pair::new().await;
    let database = &pair.database;
    database.sql("INSERT INTO b VALUES (1, 'x', repeat('large', 2000)), (2, 'x', repeat('large', 2000))");
    let (mut one, mut two) = (database.session(), database.session());
    one.sql("BEGIN;");
    one.sql(&nested(10_000));
    two.sql("BEGIN;");
    two.sql(&insert("a", 20_000, 600));
    database.sql(&insert("a", 1, 3));
    one.sql(&insert("b", 30_000, 600));
    two.sql("UPDATE b SET v = v || 'z' WHERE id = 1; SAVEPOINT s;");
    two.sql(&insert("a", 21_000, 600));
    two.sql("ROLLBACK TO s;");
    database.sql(&insert("a", 4, 3));
    one.sql("COMMIT;");
    database.sql("BEGIN; DELETE FROM a WHERE id < 4; COMMIT");
    two.sql("TRUNCATE c; COMMIT;");
    one.sql(&format!("BEGIN; {} ROLLBACK;", insert("a", 40_000, 900)));
    one.sql(&format!("BEGIN; {} COMMIT;", nested(50_000)));
    database.sql("INSERT INTO c VALUES (1, 'last')");
    let log = resume(&pair.streamed, None).await;
    let rows = pair.compare(log).await;
    assert!(rows.len() > 5_000, "{}", rows.len());
    let slot = database.settings().slot;
    let streamed = format!("SELECT stream_txns > 2 FROM pg_stat_replication_slots WHERE slot_name = '{slot}'");
    while database.sql(&streamed) != "t" {
        tokio::task::yield_now().await;
    }
}

/// Runs `before` and `after` in a transaction, reads what has come of it in between, commits, and compares.
async fn in_progress(before: &[&str], after: &[&str]) -> Vec<String> {
    let pair = Pair::new().await;
    let mut session = pair.database.session();
    let (mut log, mut other) = (resume(&pair.streamed, None).await, resume(&pair.whole, None).await);
    // Both know the tables as they are, as from a lake.
    pair.database.sql("INSERT INTO a VALUES (-1); INSERT INTO b VALUES (-1)");
    assert_eq!(told(&log.read_all(&pair.streamed).await), told(&other.read_all(&pair.whole).await));
    session.sql("BEGIN;");
    for sql in before {
        session.sql(sql);
    }
    // Somebody else's commit brings the transaction's pieces to the server's reader, and the log's end past them.
    pair.database.sql("INSERT INTO c VALUES (0, 'between')");
    let end = pair.streamed.end().await.unwrap();
    log.read_to(&end).await.unwrap();
    assert!(log.changes.in_progress_bytes() > 100_000, "{}", log.changes.in_progress_bytes());
    for sql in after {
        session.sql(sql);
    }
    pair.compare_both(log, other).await
}

#[tokio::test]
async fn a_column_that_the_transaction_itself_added_has_its_number() {
    let (first, second) = (insert("a", 1, 600), insert("a", 1_000, 600));
    let rows = in_progress(
        &[&first, "ALTER TABLE a ADD w int DEFAULT 5; ALTER TABLE a DROP pad;", &second],
        &["UPDATE a SET w = id;", "COMMIT;", "INSERT INTO a VALUES (0, 'x', 9);"],
    )
    .await;
    assert!(rows.last().unwrap().contains("id#1=0 v#2=x w#4=9"));
}

#[tokio::test]
async fn a_column_that_was_rolled_back_was_never_there() {
    let (first, second, third) = (insert("a", 1, 600), insert("a", 1_000, 600), insert("a", 2_000, 600));
    let rows = in_progress(
        &[&first, "SAVEPOINT s; ALTER TABLE a ADD w int DEFAULT 5;", &second],
        &["ROLLBACK TO s;", &third, "COMMIT;", "INSERT INTO a VALUES (0, 'x', 'y');"],
    )
    .await;
    assert_eq!(rows.len(), 1_202);
    assert!(rows.last().unwrap().contains("id#1=0 v#2=x pad#3=y"));
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_no_row_and_no_description() {
    let first = insert("a", 1, 600);
    let rows = in_progress(
        &["ALTER TABLE a ADD w int DEFAULT 5;", &first],
        &["ROLLBACK;", "INSERT INTO a VALUES (0, 'x', 'y');"],
    )
    .await;
    assert_eq!(rows.len(), 2, "{rows:?}");
}

#[tokio::test]
async fn a_table_that_the_transaction_itself_made_is_known_after_it() {
    let first = insert("made", 1, 600);
    in_progress(
        &[&insert("a", 1, 600), "CREATE TABLE made (id int PRIMARY KEY, v text);", &first],
        &["COMMIT;", "INSERT INTO made VALUES (0, 'x');", "INSERT INTO a VALUES (0, 'x', 'y');"],
    )
    .await;
}

/// Reads until the log gives up, and then whole transactions from the start.
async fn gives_up(pair: Pair<'static>, mut log: Reading) {
    let end = pair.streamed.end().await.unwrap();
    let fault = log.read_to(&end).await.unwrap_err();
    assert!(fault.is_retry() && fault.code == "PG-032", "{fault:?}");
    log.log.close().await;
    let log = resume(&pair.streamed, None).await;
    pair.compare(log).await;
}

#[tokio::test]
async fn a_type_that_only_the_transaction_knows_ends_the_reading_in_progress() {
    let pair = Pair::new().await;
    let mut session = pair.database.session();
    let log = resume(&pair.streamed, None).await;
    session.sql("BEGIN; CREATE DOMAIN price AS int; ALTER TABLE a ADD p price;");
    session.sql(&insert("a", 1, 600));
    pair.database.sql("INSERT INTO c VALUES (0, 'between')");
    let mut log = log;
    let end = pair.streamed.end().await.unwrap();
    let fault = log.read_to(&end).await.unwrap_err();
    assert_eq!(fault.code, "PG-032");
    session.sql("COMMIT;");
    log.log.close().await;
    pair.compare(resume(&pair.streamed, None).await).await;
}

#[tokio::test]
async fn a_table_that_leaves_while_a_transaction_is_in_progress_ends_the_reading_in_progress() {
    let pair = Pair::new().await;
    let mut session = pair.database.session();
    let mut log = resume(&pair.streamed, None).await;
    session.sql("BEGIN;");
    session.sql(&insert("a", 1, 600));
    pair.database.sql("INSERT INTO c VALUES (0, 'between')");
    let end = pair.streamed.end().await.unwrap();
    log.read_to(&end).await.unwrap();
    let members = pair.streamed.members().await.unwrap();
    let a = members.iter().find(|member| member.schema.table.parts().last().unwrap() == "a").unwrap();
    log.log.exclude(std::slice::from_ref(&a.schema.table));
    session.sql("COMMIT;");
    gives_up(pair, log).await;
}

#[tokio::test]
async fn a_position_between_the_pieces_of_a_transaction_is_one_to_read_on_from() {
    let pair = Pair::new().await;
    let mut session = pair.database.session();
    let mut log = resume(&pair.streamed, None).await;
    session.sql("BEGIN;");
    session.sql(&insert("a", 1, 600));
    pair.database.sql("INSERT INTO c VALUES (0, 'between')");
    let end = pair.streamed.end().await.unwrap();
    log.read_to(&end).await.unwrap();
    let (position, rows) = (log.changes.position().unwrap().clone(), told(&log.changes.take_all().unwrap()));
    assert_eq!((rows.len(), log.changes.in_progress_bytes() > 100_000), (1, true));
    log.release.release(&position);
    log.log.close().await;
    session.sql("COMMIT;");
    let mut log = resume(&pair.streamed, Some(&position)).await;
    assert_eq!(log.read_all(&pair.streamed).await.iter().map(Batch::rows).sum::<usize>(), 600);
    log.log.close().await;
}
