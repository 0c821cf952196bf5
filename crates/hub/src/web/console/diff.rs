//! What has changed between two texts, line by line, with a little of what stands around it.

/// Lines around a change.
const AROUND: usize = 3;
/// Texts that differ in more lines than this are not compared line by line: everything went, everything came.
const MOST: usize = 2_000;

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Same,
    Gone,
    New,
    /// So many that stayed are left out.
    Gap,
}

/// A line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) change: Change,
    pub(crate) text: String,
}

impl Line {
    fn new(change: Change, text: &str) -> Self {
        Self { change, text: text.to_owned() }
    }

    /// What is read out, and stands in front.
    pub(crate) fn mark(&self) -> &'static str {
        match self.change {
            Change::Same | Change::Gap => " ",
            Change::Gone => "-",
            Change::New => "+",
        }
    }

    /// Class of the line.
    pub(crate) fn class(&self) -> &'static str {
        match self.change {
            Change::Same => "same",
            Change::Gone => "gone",
            Change::New => "new",
            Change::Gap => "gap",
        }
    }
}

/// The comparison; empty where the texts are the same.
pub(crate) fn diff(old: &str, new: &str) -> Vec<Line> {
    if old == new {
        return Vec::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let (old_rest, new_rest) = (old.get(start..).unwrap_or_default(), new.get(start..).unwrap_or_default());
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(one, other)| one == other).count();
    let old_middle = old_rest.get(..old_rest.len() - end).unwrap_or_default();
    let new_middle = new_rest.get(..new_rest.len() - end).unwrap_or_default();
    let mut all: Vec<Line> = old.iter().take(start).map(|text| Line::new(Change::Same, text)).collect();
    all.extend(middle(old_middle, new_middle));
    all.extend(old_rest.iter().skip(old_middle.len()).map(|text| Line::new(Change::Same, text)));
    shortened(all)
}

/// By the longest common subsequence.
fn middle(old: &[&str], new: &[&str]) -> Vec<Line> {
    let gone = |text: &&str| Line::new(Change::Gone, text);
    let came = |text: &&str| Line::new(Change::New, text);
    if old.len().max(new.len()) > MOST {
        return old.iter().map(gone).chain(new.iter().map(came)).collect();
    }
    // `common[i][j]`: how much the rests from i and j have in common.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    let get = |common: &[Vec<u32>], i: usize, j: usize| common.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let value = if old.get(i) == new.get(j) {
                get(&common, i + 1, j + 1) + 1
            } else {
                get(&common, i + 1, j).max(get(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while let (Some(one), Some(other)) = (old.get(i), new.get(j)) {
        if one == other {
            lines.push(Line::new(Change::Same, one));
            (i, j) = (i + 1, j + 1);
        } else if get(&common, i + 1, j) >= get(&common, i, j + 1) {
            lines.push(gone(one));
            i += 1;
        } else {
            lines.push(came(other));
            j += 1;
        }
    }
    lines.extend(old.iter().skip(i).map(gone));
    lines.extend(new.iter().skip(j).map(came));
    lines
}

/// Without the lines that stayed and stand far from every change.
fn shortened(all: Vec<Line>) -> Vec<Line> {
    let changed: Vec<usize> =
        all.iter().enumerate().filter(|(_, line)| line.change != Change::Same).map(|(at, _)| at).collect();
    let is_near = |at: usize| {
        let after = changed.partition_point(|other| *other + AROUND < at);
        changed.get(after).is_some_and(|other| *other <= at + AROUND)
    };
    let mut short = Vec::new();
    let mut skipped = 0_usize;
    for (at, line) in all.into_iter().enumerate() {
        if is_near(at) {
            push_gap(&mut short, &mut skipped);
            short.push(line);
        } else {
            skipped += 1;
        }
    }
    push_gap(&mut short, &mut skipped);
    short
}

fn push_gap(lines: &mut Vec<Line>, skipped: &mut usize) {
    let lines_word = if *skipped == 1 { "line" } else { "lines" };
    if *skipped > 0 {
        lines.push(Line { change: Change::Gap, text: format!("{skipped} {lines_word} as before") });
    }
    *skipped = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> String {
        diff(old, new).iter().map(|line| format!("{}{}\n", line.mark(), line.text)).collect()
    }

    #[test]
    fn what_stayed_far_from_a_change_is_left_out() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        assert_eq!(shown(old, old), "");
        assert_eq!(shown(old, &old.replace('b', "B")), " a\n-b\n+B\n c\n d\n e\n 3 lines as before\n");
    }

    #[test]
    fn a_line_that_moves_is_one_that_goes_and_one_that_comes() {
        assert_eq!(shown("a\nb\nc\n", "b\nc\na\n"), "-a\n b\n c\n+a\n");
        assert_eq!(shown("", "a\n"), "+a\n");
    }

    #[test]
    fn texts_that_differ_everywhere_are_not_compared_line_by_line() {
        let text = |mark: char| (0..MOST * 2).map(|line| format!("{mark}{line}\n")).collect::<String>();
        let lines = diff(&text('a'), &text('b'));
        assert_eq!(lines.iter().filter(|line| line.change == Change::New).count(), MOST * 2);
    }
}
