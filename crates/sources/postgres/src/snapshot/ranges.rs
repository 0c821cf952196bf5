//! Ranges of blocks as text: `OID:from` up to, but without, `OID:to`; an open end is `OID:`.

use millrace_model::Chunk;

/// An end that no relation reaches.
const OPEN: u64 = u64::MAX;

/// The chunks of a relation of `blocks` blocks that are not done. The last one is open: rows may lie behind what its size
/// was a moment ago.
pub(super) fn remaining(oid: u32, blocks: u64, size: u64, done: &[(String, String)]) -> Vec<Chunk> {
    let mut done: Vec<(u64, u64)> = done.iter().filter_map(|range| parse(oid, &range.0, &range.1)).collect();
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

/// Reads a range of this relation.
pub(super) fn parse(oid: u32, from: &str, to: &str) -> Option<(u64, u64)> {
    let (from_oid, from) = from.split_once(':')?;
    let (to_oid, to) = to.split_once(':')?;
    if from_oid != to_oid || from_oid.parse() != Ok(oid) {
        return None;
    }
    Some((from.parse().ok()?, if to.is_empty() { OPEN } else { to.parse().ok()? }))
}

/// The relation of a chunk, and its first and last block; `None` for an open end.
pub(super) fn blocks(chunk: &Chunk) -> Option<(u32, u64, Option<u64>)> {
    let oid = chunk.from.split_once(':')?.0.parse().ok()?;
    let (from, to) = parse(oid, &chunk.from, &chunk.to)?;
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

    #[test]
    fn a_relation_is_cut_into_ranges_and_the_last_is_open() {
        assert_eq!(texts(&remaining(7, 25, 10, &[])), ["7:0-7:10", "7:10-7:20", "7:20-7:"]);
        assert_eq!(texts(&remaining(7, 0, 10, &[])), ["7:0-7:"]);
        assert_eq!(texts(&remaining(7, 20, 10, &[])), ["7:0-7:10", "7:10-7:"]);
    }

    #[test]
    fn what_is_done_is_left_out_whatever_the_size_is_by_now() {
        let done =
            |ranges: &[(&str, &str)]| ranges.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Vec<_>>();
        assert_eq!(
            texts(&remaining(7, 45, 10, &done(&[("7:10", "7:20")]))),
            ["7:0-7:10", "7:20-7:30", "7:30-7:40", "7:40-7:"]
        );
        assert_eq!(texts(&remaining(7, 45, 10, &done(&[("7:20", "7:"), ("8:0", "8:")]))), ["7:0-7:10", "7:10-7:20"]);
        assert_eq!(texts(&remaining(7, 5, 10, &done(&[("7:0", "7:4"), ("7:20", "7:")]))), ["7:4-7:20"]);
        assert!(remaining(7, 45, 10, &done(&[("7:0", "7:")])).is_empty());
    }
}
