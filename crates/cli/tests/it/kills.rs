//! Kill -9 at random moments, the snapshot's included, now and then of the server too: nothing is lost, nothing is doubled.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use millrace_testkit::lake::{self, Readers};
use millrace_testkit::postgres::{Database, Settings};
use millrace_testkit::process::Line;
use millrace_testkit::workload::{self, Random};

use crate::formats::FORMS;
use crate::shop::{PATIENCE, Shop, is_long};

/// Read block by block: a row fills its block, so that few rows make many chunks.
const ARCHIVE_ROWS: u64 = 24_000;

/// About half of the chunks of a snapshot of all tables: in most rounds so many come, and more are to come.
const CHUNKS: u64 = 7;

const ARCHIVE: &str = "
    CREATE TABLE archive (id bigint PRIMARY KEY, n integer NOT NULL, page text NOT NULL, scan text) WITH (fillfactor = 10);
    ALTER TABLE archive ALTER page SET STORAGE PLAIN, ALTER scan SET STORAGE EXTERNAL";

/// The moments at which a process is killed, as far as they are chosen.
#[derive(Debug)]
enum Moment {
    /// While it checks, takes the source, claims, or has just begun to stream.
    Start,
    /// Between the commits of a stream.
    Stream,
    /// While it reads the rows that are there already.
    Snapshot,
}

/// How often lake and source are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    /// After every kill, with which the snapshot that it fell into comes to its end.
    AfterEach,
    /// The first snapshot is killed again and again. Later, every other round goes on with what the kill left, except in the
    /// long tier.
    Often,
}

#[test]
fn a_kill_at_any_moment_loses_and_doubles_nothing() {
    if is_long() {
        // A comparison reads the whole lake: ten lakes of twenty kills are compared a tenth as long as one of two hundred.
        for seed in 0..10 {
            kill(FORMS[0], seed, 20, Compared::AfterEach);
        }
    } else {
        kill(FORMS[0], 0, 20, Compared::Often);
    }
}

#[test]
fn a_kill_at_any_moment_loses_and_doubles_nothing_in_any_format_and_layout() {
    let forms = if is_long() { FORMS.len() } else { 5 };
    for (seed, &form) in FORMS.iter().enumerate().take(forms).skip(1) {
        kill(form, seed as u64, if is_long() { 20 } else { 5 }, Compared::Often);
    }
}

/// Kills a pipeline again and again.
fn kill(form: (&str, &str, &str), seed: u64, rounds: u32, compared: Compared) {
    let mut tables = workload::TABLES.to_vec();
    tables.push("archive");
    // Transactions of more than 64 kB are handed over while they are in progress.
    let server = Settings::default().set("logical_decoding_work_mem", "64kB");
    let mut shop = Shop::with(server, &tables, |draft| draft.property("snapshot.parallelism", "1").form(form));
    fill_archive(&shop.database);
    let mut random = Random::new(seed + 1);
    let mut load = shop.load(0);
    let (mut met, mut movers, mut streamed) = (0, 0, 0);
    let mut is_under_way = true;
    for round in 0..rounds {
        let moment = match round {
            0..4 => Moment::Snapshot,
            _ => match random.below(3) {
                0 => Moment::Start,
                1 => Moment::Stream,
                _ => Moment::Snapshot,
            },
        };
        // The first snapshot is killed until it has ended all the same; from then on each has a new one.
        if matches!(moment, Moment::Snapshot) && (round >= 4 || !is_under_way) {
            restart(&shop, &mut random);
        }
        move_archive(&shop.database, &mut random);
        is_under_way = kill_at(&shop, &moment, &mut random);
        // The snapshot may have been over before the kill, or when the kill before came: then another.
        for _ in 0..2 {
            if matches!(moment, Moment::Snapshot) && !is_under_way {
                restart(&shop, &mut random);
                is_under_way = kill_at(&shop, &moment, &mut random);
            }
        }
        met += u32::from(is_under_way);
        streamed = streamed.max(streamed_transactions(&shop.database));
        if round % 6 == 5 {
            // A crash ends the movers' sessions; what the last of their transactions came to, the source knows.
            shop.server.crash().unwrap();
            drop(load);
            movers += 2;
            load = shop.load(movers);
        }
        shop.fsck();
        let is_due = match compared {
            Compared::AfterEach => true,
            Compared::Often => round >= 3 && (is_long() || random.once_in(2) || round % 5 == 4),
        };
        if is_due {
            assert!(load.is_moving());
            let _pause = load.pause();
            settle(&shop);
            is_under_way = false;
        }
    }
    assert!(met >= 3, "only {met} kills fell into a snapshot");
    // A few kills may all fall before one.
    assert!(streamed > 0 || rounds < 20, "no transaction came while it was in progress");
    load.stop().unwrap();
    settle(&shop);
    if form.0 == "parquet" {
        shop.compare_independently();
    }
    for table in &shop.pipeline.tables {
        lake::alike(Readers::Usual, &shop.pipeline.full_name(table), [&*shop.pipeline.lake]).unwrap();
    }
}

/// While the shop stands still: catches up, and finds lake and source equal.
fn settle(shop: &Shop) {
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

/// Has tables read anew. The command itself is killed now and then, and then given again.
fn restart(shop: &Shop, random: &mut Random) {
    let flags: &[&str] = if random.once_in(2) {
        &["--snapshot", "--yes"]
    } else {
        &["--snapshot", "--yes", "--tables", "public.archive"]
    };
    if random.once_in(3) {
        let restarting = shop.command("restart", flags).start().unwrap();
        thread::sleep(Duration::from_millis(random.below(150)));
        restarting.kill().unwrap();
        shop.fsck();
    }
    let ended = shop.command("restart", flags).complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
}

/// Transactions that the server has handed over while they were in progress, since it has counted.
fn streamed_transactions(database: &Database) -> u64 {
    let streamed = "SELECT coalesce(sum(stream_txns), 0) FROM pg_stat_replication_slots";
    database.sql(streamed).unwrap().parse().unwrap()
}

/// Starts the pipeline and kills it at a random moment of the kind. Says whether a snapshot was under way.
fn kill_at(shop: &Shop, moment: &Moment, random: &mut Random) -> bool {
    let mut running = shop.run();
    let span = match moment {
        Moment::Start => 400,
        Moment::Stream => {
            running.wait_for("committed", PATIENCE).unwrap();
            800
        }
        Moment::Snapshot => {
            // Where an earlier kill came after the last chunk, there is no snapshot to wait for.
            let chunks = random.below(CHUNKS) as usize;
            let is_there = |lines: &[Line]| {
                let count = |code: &str| lines.iter().filter(|line| line.code == code).count();
                let is_over = under_way(lines) == 0 && count("committed") > 4;
                let is_there = count("snapshot_started") > 0 && count("chunk_committed") >= chunks;
                (is_there || is_over).then_some(())
            };
            running.wait_for_lines("chunks of a snapshot", PATIENCE, is_there).unwrap();
            60
        }
    };
    // The random moment is what is tested here; nothing is waited for.
    thread::sleep(Duration::from_millis(random.below(span)));
    assert!(!running.has_ended(), "{:#?}", running.lines());
    let ended = running.kill().unwrap();
    under_way(&ended.lines) > 0
}

/// How many tables have a snapshot that has begun and not ended. One that had to start again has begun more often than it
/// has ended.
fn under_way(lines: &[Line]) -> usize {
    let mut tables = BTreeSet::new();
    for line in lines {
        let table = line.fields.get("table").map(ToString::to_string);
        if line.code == "snapshot_started" {
            tables.insert(table);
        } else if line.code == "snapshot_finished" {
            tables.remove(&table);
        }
    }
    tables.len()
}

fn fill_archive(database: &Database) {
    database.sql(ARCHIVE).unwrap();
    database
        .sql(&format!(
            "INSERT INTO archive SELECT n, 0, repeat(md5(n::text), 20), CASE WHEN n % 100 = 0 THEN repeat(md5(n::text), 200) END
             FROM generate_series(1, {ARCHIVE_ROWS}) n"
        ))
        .unwrap();
}

/// Changes to rows whose snapshot is under way: of values, of keys, and, seldom, of a row with a text that the log leaves
/// out, after which the table must be read anew.
fn move_archive(database: &Database, random: &mut Random) {
    let mut sql = String::new();
    for _ in 0..20 {
        let id = random.below(ARCHIVE_ROWS / 100) * 100 + 1 + random.below(98);
        sql += &match random.below(5) {
            0 => format!("UPDATE archive SET id = id + 1000000 WHERE id = {id};"),
            1 => format!("DELETE FROM archive WHERE id = {id};"),
            2 => format!("INSERT INTO archive VALUES ({}, 1, 'new') ON CONFLICT DO NOTHING;", 2_000_000 + id),
            _ => format!("UPDATE archive SET n = n + 1 WHERE id = {id};"),
        };
    }
    // More than the server keeps to itself until a transaction ends.
    let first = random.below(ARCHIVE_ROWS - 400);
    sql += &format!("UPDATE archive SET n = n + 1 WHERE id % 100 <> 0 AND id BETWEEN {first} AND {first} + 300;");
    if random.once_in(4) {
        let id = random.below(ARCHIVE_ROWS / 100) * 100 + 100;
        sql += &format!("UPDATE archive SET n = n + 1 WHERE id = {id};");
    }
    database.sql(&sql).unwrap();
}
