//! Memory that threads leave to each other: the heaps of the real program.

use std::fs;

use crate::shop::{PATIENCE, Shop, wait};

/// Reserved for each heap of the C library beside its first; it begins at a multiple of itself.
const HEAP: u64 = 64 << 20;

#[test]
fn threads_share_two_heaps() {
    let shop = Shop::open();
    let running = shop.streaming();
    let load = shop.load(0);
    let before = load.done().transactions;
    wait("a hundred transactions", || load.done().transactions >= before + 100);
    let maps = fs::read_to_string(format!("/proc/{}/maps", running.id())).unwrap();
    load.stop().unwrap();
    running.stop(PATIENCE).unwrap();
    assert!(maps.contains("[heap]"), "{maps}");
    assert_eq!(heaps(&maps), 1, "beside the first\n{maps}");
}

/// Counts the heaps of threads: memory in use across a multiple of [`HEAP`], and directly behind it the rest of the reserve,
/// which nobody may touch. Whatever else lies beside the two is one mapping with them, so that neither begins or ends by itself.
fn heaps(maps: &str) -> usize {
    let mappings: Vec<_> = maps.lines().filter_map(mapping).collect();
    let is_heap = |two: &&[(u64, u64, &str)]| {
        let [(start, end, used), (rest, last, reserved)] = **two else { return false };
        let heap = start.next_multiple_of(HEAP);
        (used, reserved) == ("rw-p", "---p") && heap < end && end == rest && last >= heap + HEAP
    };
    mappings.windows(2).filter(is_heap).count()
}

/// Start, end and rights in a line as `7f0000000000-7f0000021000 rw-p 00000000 00:00 0`.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?, rest.get(..4)?))
}
