//! Markdown as our own pages use it, as HTML: headings, paragraphs, lists, tables, code, links, emphasis. Whatever else
//! stands in a text comes out as it stands there, escaped.

/// Where a link leads; `None`: its text stays, the link does not.
type Resolve<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The HTML of a text.
pub(super) fn html(text: &str, resolve: Resolve<'_>) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let block = line.trim_start();
        if block.is_empty() {
            continue;
        }
        if block.starts_with("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
            out += &format!(
                "<div class=\"code\" data-copy><pre tabindex=\"0\"><code>{}</code></pre></div>\n",
                escaped(&code.join("\n"))
            );
            continue;
        }
        if let Some((level, title)) = heading(block) {
            out += &format!("<h{level} id=\"{}\">{}</h{level}>\n", anchor(title), inline(title, resolve));
            continue;
        }
        // What belongs to this block: up to an empty line, or to one that begins another.
        let mut all = vec![line];
        while let Some(next) = lines.next_if(|next| !next.trim().is_empty() && !begins_another(block, next)) {
            all.push(next);
        }
        out += &if block.starts_with('|') {
            // Each has a name of its own, for who cannot see where it stands.
            let number = out.matches("<table>").count() + 1;
            table(&all, number, resolve)
        } else if marker(block).is_some() {
            list(&all, resolve)
        } else {
            format!("<p>{}</p>\n", inline(&joined(&all), resolve))
        };
    }
    out
}

fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    let title = line.get(level..)?.strip_prefix(' ')?;
    (1..=6).contains(&level).then_some((level, title))
}

/// As links name it: small letters, digits, hyphens; of a code the code itself.
fn anchor(title: &str) -> String {
    if let Some(code) = title.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
        return escaped(code);
    }
    let kept = title.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The mark of a list's entry: its length, and whether it is a number.
fn marker(line: &str) -> Option<(usize, bool)> {
    if line.starts_with("- ") || line.starts_with("* ") {
        return Some((2, false));
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0 && line.get(digits..)?.starts_with(". ")).then_some((digits + 2, true))
}

fn begins_another(block: &str, next: &str) -> bool {
    let next = next.trim_start();
    next.starts_with("```")
        || heading(next).is_some()
        || (!block.starts_with('|') && next.starts_with('|'))
        || (block.starts_with('|') && !next.starts_with('|'))
        || (marker(block).is_none() && marker(next).is_some())
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn list(lines: &[&str], resolve: Resolve<'_>) -> String {
    let mut entries: Vec<Vec<&str>> = Vec::new();
    let mut numbered = false;
    for line in lines {
        match marker(line.trim_start()) {
            Some((length, number)) => {
                numbered = numbered || number;
                entries.push(vec![line.trim_start().get(length..).unwrap_or_default()]);
            }
            None => entries.last_mut().into_iter().for_each(|entry| entry.push(line)),
        }
    }
    let tag = if numbered { "ol" } else { "ul" };
    let entries: String = entries.iter().map(|entry| format!("<li>{}</li>", inline(&joined(entry), resolve))).collect();
    format!("<{tag}>{entries}</{tag}>\n")
}

/// The cells of a line; a `\|` is no border.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|');
    let line = line.strip_suffix('|').unwrap_or(line).replace("\\|", "\u{1}");
    line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

fn table(lines: &[&str], number: usize, resolve: Resolve<'_>) -> String {
    let row = |line: &str, tag: &str| {
        let cells =
            cells(line).iter().map(|cell| format!("<{tag}>{}</{tag}>", inline(cell, resolve))).collect::<String>();
        format!("<tr>{cells}</tr>")
    };
    let is_rule = |line: &str| line.contains('-') && line.chars().all(|c| "|-: ".contains(c));
    let head: String = lines.first().map(|line| row(line, "th")).unwrap_or_default();
    let body: String = lines.iter().skip(1).filter(|line| !is_rule(line)).map(|line| row(line, "td")).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table {number}\"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Code, links and emphasis within a line.
fn inline(text: &str, resolve: Resolve<'_>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '[', '*']) {
        let (before, from) = rest.split_at(at);
        out += &escaped(before);
        let (piece, left) =
            code(from).or_else(|| link(from, resolve)).or_else(|| strong(from, resolve)).unwrap_or_else(|| {
                let (mark, left) = from.split_at(1);
                (mark.to_owned(), left)
            });
        out += &piece;
        rest = left;
    }
    out + &escaped(rest)
}

fn code(from: &str) -> Option<(String, &str)> {
    let ticks = from.bytes().take_while(|byte| *byte == b'`').count();
    let fence = from.get(..ticks).filter(|fence| !fence.is_empty())?;
    let (code, left) = from.get(ticks..)?.split_once(fence)?;
    Some((format!("<code>{}</code>", escaped(code)), left))
}

fn link<'a>(from: &'a str, resolve: Resolve<'_>) -> Option<(String, &'a str)> {
    let (name, rest) = from.strip_prefix('[')?.split_once("](")?;
    let (target, left) = rest.split_once(')')?;
    if name.contains('[') {
        return None;
    }
    let name = inline(name, resolve);
    let shown = match resolve(target) {
        Some(address) => format!("<a href=\"{}\">{name}</a>", escaped(&address)),
        None => name,
    };
    Some((shown, left))
}

fn strong<'a>(from: &'a str, resolve: Resolve<'_>) -> Option<(String, &'a str)> {
    for (mark, tag) in [("**", "strong"), ("*", "em")] {
        let Some(inner) = from.strip_prefix(mark) else { continue };
        let (words, left) = inner.split_once(mark)?;
        if words.is_empty() || words.starts_with(' ') {
            return None;
        }
        return Some((format!("<{tag}>{}</{tag}>", inline(words, resolve)), left));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        html(text, &|link| (link == "a.md").then(|| "/docs/a".to_owned()))
    }

    #[test]
    fn blocks_and_lines_become_what_they_mean() {
        assert_eq!(
            plain("## What to *do*\nOne\ntwo."),
            "<h2 id=\"what-to-do\">What to <em>do</em></h2>\n<p>One two.</p>\n"
        );
        assert_eq!(plain("- a\n  b\n- **c**"), "<ul><li>a b</li><li><strong>c</strong></li></ul>\n");
        assert_eq!(plain("1. a\n2. b"), "<ol><li>a</li><li>b</li></ol>\n");
        assert_eq!(plain("[a](a.md) [b](b.md)"), "<p><a href=\"/docs/a\">a</a> b</p>\n");
        assert_eq!(plain("### `retrying`"), "<h3 id=\"retrying\"><code>retrying</code></h3>\n");
        let table = plain("| a | b |\n|---|---|\n| `x \\| y` | 2 |");
        assert!(table.contains("<thead><tr><th>a</th><th>b</th></tr></thead>"), "{table}");
        assert!(table.contains("<tbody><tr><td><code>x | y</code></td><td>2</td></tr></tbody>"), "{table}");
        assert!(plain("```sh\na < b\n```").contains("<code>a &lt; b</code>"));
    }

    #[test]
    fn whatever_else_is_written_comes_out_as_it_stands() {
        assert_eq!(plain("<b>\"x\" & * y [z] `open"), "<p>&lt;b&gt;&quot;x&quot; &amp; * y [z] `open</p>\n");
        assert_eq!(plain("a `<i>` *b"), "<p>a <code>&lt;i&gt;</code> *b</p>\n");
    }
}
