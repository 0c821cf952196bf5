//! What this process takes of its machine, as `proc(5)` tells it; nothing on a system without it.

use std::sync::LazyLock;

use millrace_model::Timestamp;
use millrace_protocol::gateway::ProcessFigures;

use crate::clock::SystemClock;

/// `USER_HZ` is 100 on every Linux: a tick of `proc_pid_stat(5)` is so many milliseconds.
const MILLISECONDS_PER_TICK: u64 = 10;

/// The first time that anybody asked, within a second of the start.
static BEGAN: LazyLock<Timestamp> = LazyLock::new(SystemClock::time);

/// What it takes now.
pub(crate) fn figures() -> ProcessFigures {
    ProcessFigures { since: BEGAN.to_string(), memory_bytes: resident_bytes(), cpu_milliseconds: cpu_milliseconds() }
}

/// `VmRSS` of `proc_pid_status(5)`.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn cpu_milliseconds() -> Option<u64> {
    cpu_of(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// `utime` and `stime`: the 14th and the 15th field. The second, a name in brackets, may hold spaces.
fn cpu_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks * MILLISECONDS_PER_TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_knows_its_memory_and_its_processor_time() {
        let figures = figures();
        assert!(figures.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(figures.cpu_milliseconds.is_some());
        assert!(Timestamp::parse(&figures.since).is_some());
    }

    #[test]
    fn a_name_with_brackets_and_spaces_moves_no_field() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 500 0 3 0 120 45 0 0 20 0 4 0 9";
        assert_eq!(cpu_of(stat), Some(1650));
        assert_eq!(cpu_of("7"), None);
    }
}
