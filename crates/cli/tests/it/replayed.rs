//! One log, read several times: whatever the intervals, limits, formats of the wire and interruptions, every change has the
//! same sequence, and with it everything else that the log says of it.

use std::thread;
use std::time::Duration;

use millrace_testkit::pipeline::{Draft, Pipeline};
use millrace_testkit::postgres::{Database, Settings};
use millrace_testkit::workload::{self, Mover, Random};

use crate::shop::{PATIENCE, Shop, fsck, millrace};

/// Ways to read the same log: a name, and what its pipeline file says beyond the others.
const WAYS: [(&str, &[(&str, &str)]); 5] = [
    ("plain", &[("commit.interval", "1s"), ("pgoutput.streaming", "true")]),
    ("hasty", &[("commit.interval", "20ms"), ("pgoutput.binary", "true")]),
    ("text", &[("pgoutput.binary", "false"), ("commit.interval", "60s")]),
    ("narrow", &[("memory.limit", "64MiB"), ("commit.bytes", "64KiB"), ("pgoutput.streaming", "false")]),
    ("killed", &[("commit.interval", "20ms"), ("commit.bytes", "64KiB")]),
];

#[test]
fn the_same_log_gives_every_change_the_same_sequence() {
    // Transactions of more than 64 kB are handed over while they are in progress, where the pipeline file lets them.
    let server = Settings::default().set("logical_decoding_work_mem", "64kB");
    let shop = Shop::with(server, &workload::TABLES, |draft| draft);
    let database = &shop.database;
    let tables = workload::TABLES.join(", ");
    database.sql(&format!("CREATE PUBLICATION given FOR TABLE {tables}")).unwrap();
    database.sql("SELECT pg_create_logical_replication_slot('plain', 'pgoutput')").unwrap();
    // Several at a time, so that their transactions lie between each other in the log.
    let movers: Vec<_> = (0..3)
        .map(|number| {
            let database = database.clone();
            thread::spawn(move || workload::move_rows(&database, &mut Mover::new(8, number), 400).unwrap())
        })
        .collect();
    move_many_rows(database);
    movers.into_iter().for_each(|mover| mover.join().unwrap());
    for (name, _) in &WAYS[1..] {
        database.sql(&format!("SELECT pg_copy_logical_replication_slot('plain', '{name}')")).unwrap();
    }
    let lakes = WAYS.map(|(name, properties)| {
        let folder = shop.folder().join(name);
        std::fs::create_dir(&folder).unwrap();
        let draft = Draft::new(name, database, &workload::TABLES)
            .property("snapshot.mode", "never")
            .property("slot.name", name)
            .property("publication.name", "given")
            .property("publication.mode", "use");
        let draft = properties.iter().fold(draft, |draft, (key, value)| draft.property(key, value));
        let pipeline = draft.write(&folder).unwrap();
        if name == "killed" {
            kill_on_the_way(&pipeline);
        }
        let caught_up = millrace("run", &pipeline, &["--until", "now"]).allow("retrying").allow("PG-012");
        assert_eq!(caught_up.complete(PATIENCE).unwrap().code, Some(0), "{name}");
        let streams = !properties.contains(&("pgoutput.streaming", "false"));
        let streamed = streamed_transactions(database, name);
        assert_eq!(streamed > 0, streams, "{name}: {streamed} transactions came while they were in progress");
        (name, fsck(&pipeline), pipeline)
    });
    for table in workload::TABLES {
        let plain = rows(&lakes[0].2, table);
        assert!(plain.len() > 100, "{table}");
        for (name, _, pipeline) in &lakes[1..] {
            let other = rows(pipeline, table);
            let difference = plain.iter().zip(&other).find(|(a, b)| a != b);
            assert_eq!(difference, None, "{name}: {table}");
            assert_eq!(plain.len(), other.len(), "{name}: {table}");
        }
    }
    // They were really read in other rounds.
    let heads: Vec<u64> = lakes.iter().map(|(_, fsck, _)| fsck["head"].as_u64().unwrap()).collect();
    assert!(heads[3] > heads[2] && heads[4] > heads[2], "{heads:?}");
}

/// Large transactions, with parts that are undone, beside the movers'.
fn move_many_rows(database: &Database) {
    for number in 0..4 {
        let rows = |page: &str| {
            format!(
                "INSERT INTO visits SELECT n, '{page} ' || repeat(md5(n::text), 3), {number}, now() FROM generate_series(1, 2000) n;"
            )
        };
        let (kept, undone, behind) = (rows("kept"), rows("undone"), rows("behind"));
        database.sql(&format!("BEGIN; {kept} SAVEPOINT s; {undone} ROLLBACK TO s; {behind} COMMIT")).unwrap();
    }
}

/// Transactions that the server has handed over at this slot while they were in progress.
fn streamed_transactions(database: &Database, slot: &str) -> u64 {
    let streamed =
        format!("SELECT coalesce(sum(stream_txns), 0) FROM pg_stat_replication_slots WHERE slot_name = '{slot}'");
    database.sql(&streamed).unwrap().parse().unwrap()
}

/// Kills a few runs before one of them has come to the end.
fn kill_on_the_way(pipeline: &Pipeline) {
    let mut random = Random::new(4);
    for _ in 0..4 {
        let mut running = millrace("run", pipeline, &[]).allow("retrying").allow("PG-012").start().unwrap();
        running.wait_for("streaming", PATIENCE).unwrap();
        // The random moment is what is tested here; nothing is waited for.
        thread::sleep(Duration::from_millis(random.below(80)));
        running.kill().unwrap();
    }
}

/// A table's committed rows in sequence order, as they are printed.
fn rows(pipeline: &Pipeline, table: &str) -> Vec<String> {
    let ended = millrace("read", pipeline, &["--table", &pipeline.full_name(table)]).complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
    ended.stdout.lines().map(str::to_owned).collect()
}
