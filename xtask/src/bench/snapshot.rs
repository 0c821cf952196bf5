//! Reading the rows that are already there, against two parallel binary COPYs into the void, split by blocks.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use millrace_testkit::pipeline::Draft;
use millrace_testkit::postgres::SUPERUSER;
use millrace_testkit::{Fault, Result, backlog};

use super::drain::MEMORY_BAR;
use super::report::{Report, median};
use super::stage::{BENCH, MIB, Stage};

/// Wall time of Millrace, from start to exit, over that of the copies.
const WALL_BAR: f64 = 1.7;

/// Measures a table of so many rows.
pub(crate) fn measure(stage: &Stage, rows: u64, times: usize, report: &mut Report) -> Result<()> {
    println!("Writing a table of {rows} rows");
    backlog::write_one_transaction(&stage.database, rows)?;
    stage.database.sql("VACUUM ANALYZE events")?;
    let (mut copied, mut read, mut memory) = (Vec::new(), Vec::new(), 0.0f64);
    for time in 1..=times {
        let copies = copy(stage)?;
        let ended =
            stage.drain_draft(|database| Draft::new(&format!("snapshot_{time}"), database, &[backlog::TABLE]))?;
        stage.drop_slot(&format!("millrace_snapshot_{time}"))?;
        println!("  two COPYs: {:.2} s; millrace: {:.2} s", copies.as_secs_f64(), ended.wall_time.as_secs_f64());
        copied.push(copies.as_secs_f64());
        read.push(ended.wall_time.as_secs_f64());
        memory = memory.max(ended.peak_memory.get() as f64 / MIB);
    }
    let (copied, read) = (median(copied), median(read));
    report.add("snapshot: two COPYs, wall", copied, "s");
    report.add("snapshot: millrace, wall", read, "s");
    report.add("snapshot: millrace, rows a second", rows as f64 / read, "");
    report.judge("snapshot: wall, millrace / two COPYs", read / copied, "", WALL_BAR);
    report.judge("snapshot: peak memory", memory, "MiB", MEMORY_BAR);
    Ok(())
}

/// Both halves of the table at once, thrown away by PostgreSQL's own client.
fn copy(stage: &Stage) -> Result<Duration> {
    let middle = stage.database.sql("SELECT pg_relation_size('events') / current_setting('block_size')::int / 2")?;
    let began = Instant::now();
    let start = |condition: String| {
        let mut psql = Command::new(stage.server.programs().path("psql"));
        psql.args([
            "-X",
            "-q",
            "-h",
            stage.server.host(),
            "-p",
            &stage.server.port().to_string(),
            "-U",
            SUPERUSER,
            "-d",
            BENCH,
        ]);
        psql.args(["-c", &format!("COPY (SELECT * FROM ONLY events WHERE {condition}) TO STDOUT (FORMAT binary)")]);
        psql.stdout(Stdio::null()).spawn().map_err(|cause| Fault::Io { path: "psql".into(), cause })
    };
    let halves = [start(format!("ctid < '({middle},0)'"))?, start(format!("ctid >= '({middle},0)'"))?];
    for mut half in halves {
        let status = half.wait().map_err(|cause| Fault::Io { path: "psql".into(), cause })?;
        if !status.success() {
            return Err(Fault::Unexpected(format!("a COPY ended with {status}")));
        }
    }
    Ok(began.elapsed())
}
