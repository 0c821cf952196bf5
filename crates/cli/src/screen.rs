//! Standard error: lines that stay, and below them a block that is drawn again and again in its place.
//!
//! Both pass one lock, so a line of the log never tears the block and the block never covers a line. The block is drawn
//! with plain ANSI: up, over, clear what is left. Off a terminal there is never a block.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Standard error of this process.
#[derive(Default)]
pub(crate) struct Screen {
    block: Mutex<Block>,
}

/// What stands below the lines.
#[derive(Default)]
struct Block {
    lines: Vec<String>,
    /// Nothing is drawn any more.
    closed: bool,
}

/// Width and height where the size is not known.
const USUAL: (usize, usize) = (80, 24);

impl Screen {
    /// Writes one line. A log that nobody can read is no reason to stop.
    pub(crate) fn line(&self, text: &str) {
        let block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = cleared(height(&block.lines));
        out += text;
        out.push('\n');
        for line in &block.lines {
            out += line;
            out.push('\n');
        }
        put(&out);
    }

    /// Draws the block in the place of the one before.
    pub(crate) fn draw(&self, lines: Vec<String>) {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if block.closed || block.lines == lines {
            return;
        }
        let mut out = up(height(&block.lines));
        for line in &lines {
            // Over what stands there, without clearing it first: that would flicker.
            out += line;
            out += "\x1b[K\n";
        }
        // What was there before may have been higher.
        out += "\x1b[J";
        block.lines = lines;
        put(&out);
    }

    /// Takes the block away, for good.
    pub(crate) fn close(&self) {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        put(&cleared(height(&block.lines)));
        block.lines.clear();
        block.closed = true;
    }

    /// Columns and lines of the terminal now: it may have been drawn larger or smaller since.
    pub(crate) fn size() -> (usize, usize) {
        match rustix::termios::tcgetwinsize(rustix::stdio::stderr()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL,
        }
    }
}

/// Rows that these lines take now: a terminal that was made narrower has broken them.
fn height(lines: &[String]) -> usize {
    let (width, _) = Screen::size();
    lines.iter().map(|line| columns(line).div_ceil(width).max(1)).sum()
}

/// Columns of a line, its colours not counted.
fn columns(line: &str) -> usize {
    let colours: usize = line.split('\x1b').skip(1).filter_map(|rest| rest.find('m')).map(|end| end + 2).sum();
    line.chars().count().saturating_sub(colours)
}

fn up(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A\r") }
}

fn cleared(lines: usize) -> String {
    if lines == 0 { String::new() } else { up(lines) + "\x1b[J" }
}

fn put(text: &str) {
    // Where standard error is gone there is nobody left to tell.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_columns() {
        assert_eq!((columns("\x1b[32m━━\x1b[0m──  9 %"), columns("plain"), columns("")), (9, 5, 0));
    }
}
