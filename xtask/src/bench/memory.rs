//! Peak memory where it is hardest to keep: one transaction of gigabytes, and thousands of tables that change at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use millrace_testkit::postgres::Database;
use millrace_testkit::process::Ended;
use millrace_testkit::{Fault, Result, backlog};
use serde_json::Value;

use super::drain::MEMORY_BAR;
use super::report::Report;
use super::stage::{BENCH, MIB, PATIENCE, Stage, Try};
use crate::demo::commit_path;

/// Tables that change within one interval.
const TABLES: u32 = 5_000;

/// Columns of each of them.
const COLUMNS: u32 = 20;

/// A pipeline that starts looks at its tables once, and closes a round then; with thousands of them it takes some seconds.
const FIRST_LOOK: Duration = Duration::from_secs(15);

/// One transaction of so many rows.
pub(crate) fn one_transaction(stage: &Stage, rows: u64, report: &mut Report) -> Result<()> {
    println!("Writing one transaction of {rows} rows");
    backlog::write_one_transaction(&stage.database, rows)?;
    let attempt = prepared(stage, backlog::TABLE)?;
    drained(stage, &attempt, "memory: one transaction", report)
}

/// Thousands of tables, each changed by a transaction of its own.
pub(crate) fn many_tables(millrace: &Path, report: &mut Report) -> Result<()> {
    println!("Making {TABLES} tables of {COLUMNS} columns, and changing each of them");
    let stage = Stage::with(millrace, |database| make_tables(database, TABLES))?;
    let attempt = prepared(&stage, "*")?;
    // The first time, the lake learns of the tables, and where its log begins: more than one commit.
    stage.database.sql(&format!("CALL change_tables({TABLES})"))?;
    drained(&stage, &attempt, "memory: thousands of new tables", report)?;
    let ended = changed_beside(&stage, &attempt)?;
    report.judge("memory: thousands of tables: peak", ended.peak_memory.get() as f64 / MIB, "MiB", MEMORY_BAR);
    // Otherwise it was not what is hard: that all of them have columns in the making at once.
    expect_together(&attempt.pipeline.lake, TABLES, report)
}

/// Changes each of the tables while the pipeline streams, and stops it when they are committed.
fn changed_beside(stage: &Stage, attempt: &Try) -> Result<Ended> {
    let mut running = stage.start(attempt, &[])?;
    running.wait_for("streaming", PATIENCE)?;
    thread::sleep(FIRST_LOOK);
    stage.database.sql(&format!("CALL change_tables({TABLES})"))?;
    running.wait_until("a commit of changes", PATIENCE, |line| {
        line.fields.get("kind").is_some_and(|kind| kind == "changes")
    })?;
    running.stop(PATIENCE)
}

/// That the last commit with files has some of so many tables.
pub(super) fn expect_together(lake: &Path, tables: u32, report: &mut Report) -> Result<()> {
    let together = tables_of_the_last_commit(lake)?;
    report.add("memory: tables of one commit", together as f64, "");
    if together < tables as usize {
        return Err(Fault::Unexpected(format!("the {tables} tables did not change within one interval")));
    }
    Ok(())
}

/// So many tables of [`COLUMNS`], and a procedure that changes each of them.
pub(super) fn make_tables(database: &Database, tables: u32) -> Result<()> {
    // A commit after each table: a transaction that makes thousands of them needs more locks than a server has.
    database.sql(&format!(
        "CREATE PROCEDURE make_tables(tables integer) LANGUAGE plpgsql AS $$
         DECLARE columns text := (SELECT string_agg('c' || n || CASE n % 3 WHEN 0 THEN ' text' WHEN 1 THEN ' integer'
                                                                ELSE ' numeric(12,2)' END, ', ') FROM generate_series(2, {COLUMNS}) n);
         BEGIN
             FOR n IN 1 .. tables LOOP
                 EXECUTE format('CREATE TABLE t%s (id integer PRIMARY KEY, %s)', n, columns);
                 COMMIT;
             END LOOP;
         END $$;
         CREATE PROCEDURE change_tables(tables integer) LANGUAGE plpgsql AS $$
         BEGIN
             FOR n IN 1 .. tables LOOP
                 EXECUTE format('INSERT INTO t%1$s (id, c2, c3) SELECT coalesce((SELECT max(id) FROM t%1$s), 0) + n, 1.5, ''text '' || n
                                 FROM generate_series(1, 10) n', n);
                 COMMIT;
             END LOOP;
         END $$"
    ))?;
    database.sql(&format!("CALL make_tables({tables})")).map(drop)
}

fn prepared(stage: &Stage, tables: &str) -> Result<Try> {
    // Longer than reading all of it takes.
    stage.attempt_with(BENCH, &[tables], |draft| draft.property("commit.interval", "60s"))
}

fn drained(stage: &Stage, attempt: &Try, name: &str, report: &mut Report) -> Result<()> {
    let ended = stage.drain(attempt)?;
    report.add(format!("{name}: wall"), ended.wall_time.as_secs_f64(), "s");
    report.judge(format!("{name}: peak"), ended.peak_memory.get() as f64 / MIB, "MiB", MEMORY_BAR);
    Ok(())
}

/// The number of tables of which the last commit with files has some.
fn tables_of_the_last_commit(lake: &Path) -> Result<usize> {
    let commits = files_of_commits(lake)?;
    let files = commits.iter().rev().find(|files| !files.is_empty()).into_iter().flatten();
    Ok(files.filter_map(|file| file["table"].as_str()).collect::<BTreeSet<_>>().len())
}

/// Bytes of the largest data file.
pub(super) fn largest_file(lake: &Path) -> Result<u64> {
    Ok(files_of_commits(lake)?.iter().flatten().filter_map(|file| file["bytes"].as_u64()).max().unwrap_or_default())
}

/// What each commit says of its files.
fn files_of_commits(lake: &Path) -> Result<Vec<Vec<Value>>> {
    let mut commits = Vec::new();
    for number in 1.. {
        let Ok(text) = fs::read(commit_path(lake, number)) else { break };
        let commit: Value = serde_json::from_slice(&text)
            .map_err(|cause| Fault::Unexpected(format!("a commit is no JSON: {cause}")))?;
        commits.push(commit["files"].as_array().cloned().unwrap_or_default());
    }
    Ok(commits)
}
