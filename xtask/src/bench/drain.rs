//! A backlog of changes, drained by Millrace and by `pg_recvlogical` in turns, each from its own copy of one slot.

use millrace_testkit::{Fault, Result, backlog};

use super::cpu;
use super::report::{Report, median};
use super::stage::{MIB, Stage};

/// Wall time of Millrace, from start to exit, over that of pg_recvlogical into the void.
const WALL_BAR: f64 = 0.6;

/// CPU time of Millrace over that of the backend that decodes the same log.
const CPU_BAR: f64 = 0.8;

/// `memory.limit` by default, in MiB.
pub(crate) const MEMORY_BAR: f64 = 200.0;

/// What one run of each cost.
#[derive(Debug, Default)]
struct Figures {
    received: Vec<f64>,
    drained: Vec<f64>,
    drained_cpu: Vec<f64>,
    decoding_cpu: Vec<f64>,
    memory: Vec<f64>,
}

/// Measures wall time, CPU time and peak memory.
pub(crate) fn measure(stage: &Stage, changes: u64, times: usize, report: &mut Report) -> Result<()> {
    println!("Writing a backlog of {changes} changes");
    backlog::write(&stage.database, 0, changes.div_ceil(backlog::CHANGES_OF_A_BLOCK))?;
    stage.database.sql("CHECKPOINT")?;
    let end = stage.end_of_log()?;
    let mut figures = Figures::default();
    for time in 1..=times {
        println!("Run {time} of {times}");
        once(stage, &end, time, &mut figures)?;
    }
    let (received, drained) = (median(figures.received), median(figures.drained));
    let (decoding, agent) = (median(figures.decoding_cpu), median(figures.drained_cpu));
    report.add("drain: pg_recvlogical, wall", received, "s");
    report.add("drain: millrace, wall", drained, "s");
    report.add("drain: millrace, changes a second", changes as f64 / drained, "");
    report.add("drain: decoding in the server, CPU", decoding, "s");
    report.add("drain: millrace, CPU", agent, "s");
    report.judge("drain: wall, millrace / pg_recvlogical", drained / received, "", WALL_BAR);
    report.judge("drain: CPU, millrace / decoding in the server", agent / decoding, "", CPU_BAR);
    report.judge("drain: peak memory", figures.memory.into_iter().fold(0.0, f64::max), "MiB", MEMORY_BAR);
    Ok(())
}

fn once(stage: &Stage, end: &str, time: usize, figures: &mut Figures) -> Result<()> {
    let (theirs, ours) = (format!("received_{time}"), format!("drained_{time}"));
    stage.copy_slot(&theirs)?;
    let received = stage.receive(&theirs, end)?;
    stage.drop_slot(&theirs)?;
    println!("  pg_recvlogical: {:.2} s", received.as_secs_f64());
    stage.copy_slot(&ours)?;
    let attempt = stage.attempt(&ours, &[backlog::TABLE])?;
    let ended = stage.drain(&attempt)?;
    expect_all_of_it(stage, &ours, end)?;
    stage.drop_slot(&ours)?;
    let decoding = cpu::of_decoding(stage, end)?;
    println!(
        "  millrace: {:.2} s, CPU {:.2} s, {}; decoding in the server: CPU {:.2} s",
        ended.wall_time.as_secs_f64(),
        ended.processor_time.as_secs_f64(),
        ended.peak_memory,
        decoding.as_secs_f64()
    );
    figures.received.push(received.as_secs_f64());
    figures.drained.push(ended.wall_time.as_secs_f64());
    figures.drained_cpu.push(ended.processor_time.as_secs_f64());
    figures.decoding_cpu.push(decoding.as_secs_f64());
    figures.memory.push(ended.peak_memory.get() as f64 / MIB);
    Ok(())
}

/// A run that left changes behind would be fast for the wrong reason.
fn expect_all_of_it(stage: &Stage, slot: &str, end: &str) -> Result<()> {
    let left = stage.database.sql(&format!(
        "SELECT count(*) FROM (SELECT FROM pg_logical_slot_peek_binary_changes('{slot}', '{end}', 10, 'proto_version', '1', \
         'publication_names', '{}')) AS left_over",
        super::stage::BENCH
    ))?;
    if left == "0" {
        return Ok(());
    }
    Err(Fault::Unexpected(format!("millrace exited before the end of the log: at least {left} messages are left")))
}
