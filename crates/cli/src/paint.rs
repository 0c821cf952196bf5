//! Colours and characters that the terminal can show.

use std::ffi::OsString;
use std::io::IsTerminal;

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    pub(crate) colour: bool,
    /// Block characters and the like.
    pub(crate) unicode: bool,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// All is well.
    Good,
    /// Look at this.
    Alarm,
    /// This is wrong.
    Bad,
    /// Less important than the rest.
    Quiet,
    /// More important.
    Strong,
}

impl Paint {
    /// Nothing but text.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { colour: false, unicode: true };

    /// What `output` can show: colours only on a terminal that wants them.
    pub(crate) fn of(output: &impl IsTerminal) -> Self {
        let paint = Self::of_environment(|name| std::env::var_os(name));
        Self { colour: paint.colour && output.is_terminal(), ..paint }
    }

    /// `NO_COLOR` (no-color.org), `TERM` and the locale.
    fn of_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name| variable(name).map(|it| it.to_string_lossy().to_lowercase()).filter(|it| !it.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(text).unwrap_or_default();
        let dumb = text("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: text("NO_COLOR").is_none() && !dumb,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.colour || text.is_empty() => return text.to_owned(),
            Tone::Good => "32",
            Tone::Alarm => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A bar of `width` characters, filled to `part` of 1.
    pub(crate) fn bar(self, part: f64, width: usize) -> String {
        let part = part.clamp(0.0, 1.0);
        let whole = (part * width as f64).floor() as usize;
        let (full, empty) = if self.unicode { ("━", "─") } else { ("#", "-") };
        self.tone(Tone::Good, &full.repeat(whole)) + &self.tone(Tone::Quiet, &empty.repeat(width - whole))
    }
}

/// Text as it may stand in a line that must not wrap: at most `width` columns, nothing that moves the cursor.
pub(crate) fn fitted(text: &str, width: usize, unicode: bool) -> String {
    // Wide characters take two columns; all of them lie beyond the Hangul Jamo.
    let columns = |c: char| if c >= '\u{1100}' { 2 } else { 1 };
    let clean: Vec<char> = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.iter().map(|&c| columns(c)).sum::<usize>() <= width {
        return clean.into_iter().collect();
    }
    let (mut fitted, mut used) = (String::new(), 1);
    for c in clean {
        used += columns(c);
        if used > width {
            break;
        }
        fitted.push(c);
    }
    if width > 0 {
        fitted.push(if unicode { '…' } else { '~' });
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_when_asked_and_blocks_where_the_locale_has_none() {
        let paint = Paint::of_environment(|name| (name == "NO_COLOR").then(|| "1".into()));
        assert_eq!(paint.bar(0.5, 4), "##--");
        let paint = Paint::of_environment(|name| (name == "LANG").then(|| "C.UTF-8".into()));
        assert_eq!(paint.tone(Tone::Good, "ok"), "\x1b[32mok\x1b[0m");
        assert!(paint.unicode);
    }

    #[test]
    fn a_text_is_cut_to_its_columns_and_cannot_move_the_cursor() {
        assert_eq!(fitted("orders", 6, true), "orders");
        assert_eq!(fitted("orders", 5, true), "orde…");
        assert_eq!(fitted("注文注文", 5, false), "注文~");
        assert_eq!(fitted("a\x1b[2Jb\n", 9, true), "a?[2Jb?");
        assert_eq!(fitted("orders", 0, true), "");
    }
}
