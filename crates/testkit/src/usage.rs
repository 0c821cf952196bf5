//! What a process costs, from `/proc`: peak memory and processor time. Linux only, as the tests are.

use std::fs;
use std::time::Duration;

use millrace_model::ByteSize;

/// Linux reports processor time in hundredths of a second on every platform that we run on (`sysconf(_SC_CLK_TCK)`).
const TICK: Duration = Duration::from_millis(10);

/// The highest resident memory so far; `None` once the process is gone.
pub fn peak_memory(process: u32) -> Option<ByteSize> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(ByteSize::kib(kibibytes))
}

/// Processor time so far, in user and kernel mode, without children; readable until the process has been waited for.
pub fn processor_time(process: u32) -> Option<Duration> {
    let fields = stat(process)?;
    // Counted from the state, which is the third field of proc(5): utime is the 14th, stime the 15th.
    let user: u32 = fields.get(11)?.parse().ok()?;
    let system: u32 = fields.get(12)?.parse().ok()?;
    Some(TICK * (user + system))
}

/// Whether the process has ended, waited for or not.
pub fn has_ended(process: u32) -> bool {
    stat(process).is_none_or(|fields| fields.first().is_some_and(|state| state == "Z" || state == "X"))
}

/// The fields behind the program's name, which may itself hold blanks and brackets.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory_and_has_not_ended() {
        let me = std::process::id();
        assert!(peak_memory(me).unwrap() > ByteSize::kib(100));
        assert!(processor_time(me).is_some());
        assert!(!has_ended(me));
    }

    #[test]
    fn work_shows_as_processor_time() {
        let me = std::process::id();
        let before = processor_time(me).unwrap();
        let mut turns = 0_u64;
        while processor_time(me).unwrap() < before + TICK * 2 {
            turns = std::hint::black_box(turns + 1);
        }
        assert!(turns > 0);
    }
}
