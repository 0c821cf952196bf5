//! The backlog of the drain, drained into a bucket of S3 and onto local disk in turns, and what thousands of tables and large
//! files take in memory there. The bucket's server runs on this machine, so it takes its part of the processors.

use std::path::Path;

use millrace_testkit::stores::{Program, StoreServer};
use millrace_testkit::{Result, backlog};

use super::drain::MEMORY_BAR;
use super::memory;
use super::report::{Report, median};
use super::stage::{BENCH, MIB, Stage};

/// Format and compression, and how much longer the way to a bucket may take.
const FORMS: [(&str, &str, f64); 2] = [("parquet", "zstd", 1.2), ("avro", "deflate", 1.3)];

/// Tables that change within one interval.
const TABLES: u32 = 2_000;

/// Measures the wall time of both ways, and peak memory.
pub(crate) fn measure(stage: &Stage, changes: u64, times: usize, report: &mut Report) -> Result<()> {
    let server = StoreServer::start(Program::VersityGw)?;
    println!("Writing a backlog of {changes} changes");
    backlog::write(&stage.database, 0, changes.div_ceil(backlog::CHANGES_OF_A_BLOCK))?;
    stage.database.sql("CHECKPOINT")?;
    for (format, compression, bar) in FORMS {
        let form = (format, "flat", compression);
        let (mut local, mut remote, mut memory) = (Vec::new(), Vec::new(), 0.0f64);
        for time in 1..=times {
            println!("Run {time} of {times}: {format}");
            for is_remote in [false, true] {
                let slot = format!("{format}_{is_remote}_{time}");
                stage.copy_slot(&slot)?;
                let attempt = stage.attempt_with(&slot, &[backlog::TABLE], |draft| {
                    let draft = draft.form(form);
                    if is_remote { draft.to(server.place(&slot, server.port())) } else { draft }
                })?;
                let ended = stage.drain(&attempt)?;
                stage.drop_slot(&slot)?;
                let wall = ended.wall_time.as_secs_f64();
                println!("  {}: {wall:.2} s, {}", if is_remote { "S3" } else { "local disk" }, ended.peak_memory);
                if is_remote {
                    remote.push(wall);
                    memory = memory.max(ended.peak_memory.get() as f64 / MIB);
                } else {
                    local.push(wall);
                }
            }
        }
        let ratio = median(remote) / median(local);
        report.judge(format!("stores: {format}, wall, S3 / local disk"), ratio, "", bar);
        report.judge(format!("stores: {format}, peak memory"), memory, "MiB", MEMORY_BAR);
    }
    Ok(())
}

/// Peak memory of files of 128 MiB, while thousands of other tables change.
pub(crate) fn large_files_and_many_tables(millrace: &Path, changes: u64, report: &mut Report) -> Result<()> {
    let server = StoreServer::start(Program::VersityGw)?;
    println!("Making {TABLES} tables; changing each of them, and one of them {changes} times");
    let stage = Stage::with(millrace, |database| memory::make_tables(database, TABLES))?;
    // One round, so that all of it is in the making at once.
    let attempt = stage.attempt_with(BENCH, &["*"], |draft| {
        let draft = draft.property("commit.interval", "10m").property("commit.bytes", "64GiB");
        draft.property("file.max.bytes", "128MiB").to(server.place("large", server.port()))
    })?;
    // The first time, the lake learns of the tables, and where its log begins: more than one commit.
    stage.database.sql(&format!("CALL change_tables({TABLES})"))?;
    stage.drain(&attempt)?;
    stage.database.sql(&format!("CALL change_tables({TABLES})"))?;
    backlog::write(&stage.database, 0, changes.div_ceil(backlog::CHANGES_OF_A_BLOCK))?;
    stage.database.sql(&format!("CALL change_tables({TABLES})"))?;
    let ended = stage.drain(&attempt)?;
    let largest = memory::largest_file(&attempt.pipeline.lake)?;
    report.add("stores: the largest file", largest as f64 / MIB, "MiB");
    memory::expect_together(&attempt.pipeline.lake, TABLES, report)?;
    report.judge("stores: large files and many tables, peak", ended.peak_memory.get() as f64 / MIB, "MiB", MEMORY_BAR);
    Ok(())
}
