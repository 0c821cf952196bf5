//! Positions: reading on, marks, keepalives, release, cancelled reads.

use std::task::Poll;
use std::time::Duration;

use millrace_model::{ByteSize, Coverage, Gulp, LogWaiting, Position, Registry, Source};
use tokio::time::{Instant, timeout};

use crate::reading::{create, lines, resume, round};
use crate::server::Server;

#[tokio::test]
async fn reading_on_from_a_checkpoint_loses_and_repeats_nothing() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    let mut boundaries: Vec<(Position, usize)> = vec![(log.position.clone(), 0)];
    for id in 0..6 {
        database.sql(&format!("INSERT INTO t VALUES ({id})"));
        while log.changes.transactions() as usize == id {
            log.log.read(&mut log.changes).await.unwrap();
        }
        boundaries.push((log.changes.position().unwrap().clone(), id + 1));
    }
    // An idle position is one to read on from as well.
    database.sql("CREATE TABLE unrelated (x int)");
    let end = source.end().await.unwrap();
    log.read_to(&end).await.unwrap();
    boundaries.push((log.changes.position().unwrap().clone(), 6));
    log.log.close().await;
    for (position, count) in boundaries {
        let mut log = resume(&source, Some(&position)).await;
        let want: Vec<_> = (count..6).map(|id| format!("c t({id})")).collect();
        assert_eq!(log.lines(&source).await, want, "from {position}");
        log.log.close().await;
    }
}

#[tokio::test]
async fn what_is_released_is_confirmed_and_never_taken_back() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    let first = log.position.clone();
    database.sql("INSERT INTO t VALUES (1)");
    assert_eq!(log.lines(&source).await, ["c t(1)"]);
    let read = log.changes.position().unwrap().clone();
    log.release.release(&read);
    log.release.release(&first);
    let confirmed = || {
        database.sql(&format!(
            "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'slot_{}'",
            database.name
        ))
    };
    while confirmed() != read.as_str() {
        tokio::task::yield_now().await;
    }
    log.log.close().await;
    let held = crate::reading::held(&source).await;
    assert_eq!(held.state().confirmed, read);
    assert_eq!(held.coverage(&read, held.identity()), Coverage::Whole);
    assert_eq!(held.coverage(&first, held.identity()), Coverage::Forgotten);
    let fault = held.open(Some(&first), &Registry::default()).await.err().unwrap();
    assert_eq!((fault.code, fault.exit_code()), ("PG-013", 66));
}

#[tokio::test]
async fn an_idle_log_comes_to_a_mark_promptly() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    for _ in 0..3 {
        database.sql("CREATE TABLE IF NOT EXISTS unrelated (x int); INSERT INTO unrelated VALUES (1)");
        let end = source.end().await.unwrap();
        let begun = Instant::now();
        timeout(Duration::from_secs(10), log.read_to(&end)).await.unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    assert!(log.changes.take_all().unwrap().is_empty());
}

#[tokio::test]
async fn a_mark_stands_before_the_first_transaction_that_ends_past_its_position() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    let mut open = database.session();
    open.sql("BEGIN; INSERT INTO t VALUES (100);");
    database.sql("INSERT INTO t VALUES (1)");
    let first = source.end().await.unwrap();
    database.sql("INSERT INTO t VALUES (2)");
    let second = source.end().await.unwrap();
    open.sql("COMMIT;");
    database.sql("INSERT INTO t VALUES (3)");
    let third = source.end().await.unwrap();
    let marks = [
        log.log.watch(&second, &[]),
        log.log.watch(&first, &[]),
        log.log.watch(&third, &[]),
        log.log.watch(&first, &[]),
    ];
    let mut seen = Vec::new();
    while seen.len() < marks.len() {
        if let Gulp::Mark(mark) = log.log.read(&mut log.changes).await.unwrap() {
            let name = marks.iter().position(|it| *it == mark).unwrap();
            seen.push((name, lines(&log.changes.take_all().unwrap())));
        }
    }
    let rows = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
    let want = [(1, rows(&["c t(1)"])), (3, rows(&[])), (0, rows(&["c t(2)"])), (2, rows(&["c t(100)", "c t(3)"]))];
    assert_eq!(seen, want);
}

/// Drops a future that is not ready after so many polls.
async fn poll_at_most<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn reads_that_are_dropped_at_random_lose_nothing() {
    let database =
        Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    let mut writer = database.session();
    let writing = std::thread::spawn(move || {
        for id in 0..900 {
            writer.sql(&format!("INSERT INTO t SELECT {id} * 10 + g, repeat('x', {id}) FROM generate_series(0, 9) g; INSERT INTO u VALUES ({id});"));
            if id % 60 == 0 {
                writer.sql("ALTER TABLE t ALTER v SET STATISTICS 10;");
            }
        }
    });
    let mut random = 12345u32;
    let mut dropped = 0;
    while !writing.is_finished() || log.changes.transactions() < 1800 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let polls = random >> 31;
        match poll_at_most(polls, log.log.read(&mut log.changes)).await {
            Some(gulp) => drop(gulp.unwrap()),
            None => dropped += 1,
        }
        tokio::task::yield_now().await;
    }
    writing.join().unwrap();
    assert!(dropped > 20, "only {dropped} reads were dropped");
    let end = source.end().await.unwrap();
    log.read_to(&end).await.unwrap();
    let batches = log.changes.take_all().unwrap();
    let got = lines(&batches);
    log.log.close().await;
    let mut again = resume(&source, None).await;
    assert_eq!(got.len(), 9900);
    assert_eq!(got, again.lines(&source).await);
}

// Replies leave from a task, which must not wait until a statement of the test itself has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stays_ours_beyond_the_servers_timeout() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let role = format!("hasty_{}", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET wal_sender_timeout = '1s'"));
    let mut settings = database.settings();
    settings.username = role;
    let source = millrace_postgres::Postgres::new(settings);
    let mut log = create(&source).await;
    // More than all buffers between the server and us hold, so that the server is stuck in its send.
    database.sql("INSERT INTO t SELECT g, repeat(md5(g::text), 100) FROM generate_series(1, 10000) g");
    let pid = || {
        database.sql(&format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'slot_{}'", database.name))
    };
    let before = pid();
    // The wait is the thing tested: three times the timeout, without a read.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(pid(), before);
    let batches = log.read_all(&source).await;
    assert_eq!(batches.iter().map(millrace_model::Batch::rows).sum::<usize>(), 10_000);
}

#[tokio::test]
async fn a_read_returns_at_the_next_boundary_when_the_round_asks_for_it() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY)");
    let source = database.source();
    let mut log = create(&source).await;
    database.sql("INSERT INTO t VALUES (1)");
    database.sql("INSERT INTO t VALUES (2)");
    let end = source.end().await.unwrap();
    log.changes = round();
    log.changes.pause(true);
    let mark = log.log.watch(&end, &[]);
    let mut transactions = Vec::new();
    while log.log.read(&mut log.changes).await.unwrap() != Gulp::Mark(mark) {
        assert!(!log.changes.in_transaction());
        transactions.push(log.changes.transactions());
    }
    assert!(transactions.contains(&1), "{transactions:?}");
}

#[tokio::test]
async fn what_waits_of_the_log_is_what_was_not_read_and_what_the_slot_keeps() {
    let database = Server::shared().database("CREATE TABLE t (id int PRIMARY KEY, v text)");
    let source = database.source();
    assert_eq!(source.waiting().await.unwrap(), LogWaiting::default());
    let mut log = create(&source).await;
    let megabyte = ByteSize::mib(1).get();
    database.sql("INSERT INTO t SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 8000) i");
    let waiting = source.waiting().await.unwrap();
    assert!(waiting.unread.unwrap().get() > megabyte && waiting.retained >= waiting.unread, "{waiting:?}");
    let before = waiting.unread.unwrap().get();
    drop(log.read_all(&source).await);
    // Other tests write to the same server meanwhile.
    loop {
        let waiting = source.waiting().await.unwrap();
        assert!(waiting.retained.unwrap().get() > megabyte, "nothing was released: {waiting:?}");
        if waiting.unread.unwrap().get() + megabyte < before {
            break;
        }
        drop(log.read_all(&source).await);
    }
}
