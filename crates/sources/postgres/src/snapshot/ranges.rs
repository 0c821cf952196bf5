//! Ranges of blocks as text: `OID:from` up to, but without, `OID:to`; an open end is `OID:`.

use std::collections::HashMap;

use millrace_model::Chunk;

/// An end that no relation reaches.
const OPEN: u64 = u64::MAX;

/// The chunks of a relation of `blocks` blocks that are not done. The last one is open: rows may lie behind what its size
/// was a moment ago.
pub(super) fn remaining(oid: u32, blocks: u64, size: u64, mut done: Vec<(u64, u64)>) -> Vec<Chunk> {
    done.sort_unstable();
    let mut chunks = Vec::new();
    let mut from = 0;
    for (done_from, done_to) in done.into_iter().chain([(OPEN, OPEN)]) {
        while from < done_from {
            let whole = from.saturating_add(size);
            // What lies behind the relation's size is one open chunk, and so is a small rest.
            let to = if whole >= blocks { done_from } else { whole.min(done_from) };
            chunks.push(chunk(oid, from, to));
            from = to;
        }
        from = from.max(done_to);
    }
    chunks
}

/// The done ranges of each relation, as read from their text.
pub(super) fn by_relation(done: &[(String, String)]) -> HashMap<u32, Vec<(u64, u64)>> {
    let mut ranges: HashMap<u32, Vec<(u64, u64)>> = HashMap::new();
    for (oid, from, to) in done.iter().filter_map(|(from, to)| parse(from, to)) {
        ranges.entry(oid).or_default().push((from, to));
    }
    ranges
}

/// Reads a range: its relation, its first block, and the block that it ends before.
fn parse(from: &str, to: &str) -> Option<(u32, u64, u64)> {
    let (from_oid, from) = from.split_once(':')?;
    let (to_oid, to) = to.split_once(':')?;
    if from_oid != to_oid {
        return None;
    }
    Some((from_oid.parse().ok()?, from.parse().ok()?, if to.is_empty() { OPEN } else { to.parse().ok()? }))
}

/// The relation of a chunk, its first block and the block that it ends before; `None` for an open end.
pub(super) fn blocks(chunk: &Chunk) -> Option<(u32, u64, Option<u64>)> {
    let (oid, from, to) = parse(&chunk.from, &chunk.to)?;
    Some((oid, from, (to != OPEN).then_some(to)))
}

fn chunk(oid: u32, from: u64, to: u64) -> Chunk {
    let to = if to == OPEN { String::new() } else { to.to_string() };
    Chunk { from: format!("{oid}:{from}"), to: format!("{oid}:{to}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(chunks: &[Chunk]) -> Vec<String> {
        chunks.iter().map(|chunk| format!("{}-{}", chunk.from, chunk.to)).collect()
    }

    fn planned(blocks: u64, done: &[(&str, &str)]) -> Vec<String> {
        let done: Vec<_> = done.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        texts(&remaining(7, blocks, 10, by_relation(&done).remove(&7).unwrap_or_default()))
    }

    #[test]
    fn a_relation_is_cut_into_ranges_and_the_last_is_open() {
        assert_eq!(planned(25, &[]), ["7:0-7:10", "7:10-7:20", "7:20-7:"]);
        assert_eq!(planned(0, &[]), ["7:0-7:"]);
        assert_eq!(planned(20, &[]), ["7:0-7:10", "7:10-7:"]);
        assert_eq!(texts(&remaining(7, 1000, u64::MAX, Vec::new())), ["7:0-7:"]);
    }

    #[test]
    fn what_is_done_is_left_out_whatever_the_size_is_by_now() {
        assert_eq!(planned(45, &[("7:10", "7:20")]), ["7:0-7:10", "7:20-7:30", "7:30-7:40", "7:40-7:"]);
        assert_eq!(planned(45, &[("7:20", "7:"), ("8:0", "8:")]), ["7:0-7:10", "7:10-7:20"]);
        assert_eq!(planned(5, &[("7:0", "7:4"), ("7:20", "7:")]), ["7:4-7:20"]);
        assert_eq!(planned(45, &[("7:20", "7:"), ("7:10", "7:30"), ("7:0", "7:10")]), Vec::<String>::new());
        assert_eq!(planned(45, &[("7:0", "7:")]), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_range_of_ours_is_no_range() {
        assert!(by_relation(&[("-".into(), "-".into()), ("7:x".into(), "7:".into())]).is_empty());
        assert_eq!(blocks(&Chunk { from: "7:0".into(), to: "8:4".into() }), None);
        assert_eq!(blocks(&Chunk { from: "7:3".into(), to: "7:".into() }), Some((7, 3, None)));
    }
}
