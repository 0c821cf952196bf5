//! The backlog of the drain, drained into each format and layout in turns: what each costs beside flat Parquet.

use millrace_testkit::{Result, backlog};

use super::report::{Report, median};
use super::stage::Stage;

/// In the order in which they are run; the first is the yardstick.
const FORMS: [(&str, &str, &str); 6] = [
    ("parquet", "flat", "zstd"),
    ("parquet", "envelope", "zstd"),
    ("avro", "flat", "deflate"),
    ("avro", "envelope", "deflate"),
    ("json", "flat", "zstd"),
    ("json", "envelope", "zstd"),
];

/// Measures wall and CPU time of each form.
pub(crate) fn measure(stage: &Stage, changes: u64, times: usize, report: &mut Report) -> Result<()> {
    println!("Writing a backlog of {changes} changes");
    backlog::write(&stage.database, 0, changes.div_ceil(backlog::CHANGES_OF_A_BLOCK))?;
    stage.database.sql("CHECKPOINT")?;
    let mut figures = FORMS.map(|_| (Vec::new(), Vec::new(), 0.0f64));
    for time in 1..=times {
        println!("Run {time} of {times}");
        for (number, (form, (wall, cpu, memory))) in FORMS.iter().zip(&mut figures).enumerate() {
            let slot = format!("form_{number}_{time}");
            stage.copy_slot(&slot)?;
            let attempt = stage.attempt_with(&slot, &[backlog::TABLE], |draft| draft.form(*form))?;
            let ended = stage.drain(&attempt)?;
            stage.drop_slot(&slot)?;
            wall.push(ended.wall_time.as_secs_f64());
            cpu.push(ended.processor_time.as_secs_f64());
            *memory = memory.max(ended.peak_memory.get() as f64 / 1_048_576.0);
        }
    }
    let mut yardstick = None;
    for ((format, layout, compression), (wall, cpu, memory)) in FORMS.into_iter().zip(figures) {
        let (wall, cpu) = (median(wall), median(cpu));
        let (first_wall, first_cpu) = *yardstick.get_or_insert((wall, cpu));
        let name = format!("formats: {format} {layout} {compression}");
        report.add(format!("{name}, wall ÷ Parquet flat"), wall / first_wall, "");
        report.add(format!("{name}, CPU ÷ Parquet flat"), cpu / first_cpu, "");
        report.judge(format!("{name}, peak memory"), memory, "MiB", super::drain::MEMORY_BAR);
    }
    Ok(())
}
