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
    let threads_heaps = maps.lines().filter(|line| begins_heap(line)).count();
    assert_eq!(threads_heaps, 1, "beside the first\n{maps}");
}

/// `7f0000000000-7f0000021000 rw-p 00000000 00:00 0`.
fn begins_heap(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (Some(range), Some("rw-p")) = (words.next(), words.next()) else { return false };
    let start = range.split('-').next().and_then(|start| u64::from_str_radix(start, 16).ok());
    // Nothing follows the inode: it is no file.
    words.count() == 3 && start.is_some_and(|start| start % HEAP == 0)
}
