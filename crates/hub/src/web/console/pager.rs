//! The ways from one part of a list to the next, as links: numbered pages of a list that is looked at whole, and the way back in
//! time of one that only grows.

use askama::Template;
use askama::filters::HtmlSafe;

use super::show::count;
use super::visitor::Fields;
use crate::db::part::{After, Part};

/// Rows on a page.
pub(super) const SIZE: usize = 100;

/// Which rows are shown, and the links to the pages beside them; nothing where all of them are on one page.
#[derive(Template)]
#[template(path = "parts/pager.html")]
pub(super) struct Pager {
    shown: String,
    before: Option<String>,
    after: Option<String>,
}

impl HtmlSafe for Pager {}

impl Pager {
    /// Cuts `rows` to the page that the query asks for; the last one, where it asks for one that is past it.
    pub(super) fn cut<T>(rows: &mut Vec<T>, query: &Fields) -> Self {
        let (found, last) = (rows.len(), rows.len().saturating_sub(1) / SIZE);
        let page = query.get("page").parse::<usize>().unwrap_or(0).min(last);
        let number = |number: usize| count(u64::try_from(number).unwrap_or(u64::MAX));
        let first = page * SIZE;
        drop(rows.drain(..first.min(found)));
        rows.truncate(SIZE);
        let link = |page: usize| query.with("page", &if page == 0 { String::new() } else { page.to_string() });
        Self {
            shown: format!("{}–{} of {}", number(first + 1), number(first + rows.len()), number(found)),
            before: (page > 0).then(|| link(page - 1)),
            after: (page < last).then(|| link(page + 1)),
        }
    }
}

/// The way from the newest to what came before.
#[derive(Template)]
#[template(path = "parts/earlier.html")]
pub(super) struct Earlier {
    newest: Option<String>,
    earlier: Option<String>,
}

impl HtmlSafe for Earlier {}

impl Earlier {
    /// The part that the query asks for.
    pub(super) fn part(query: &Fields, size: i64) -> Part {
        Part::after(After::parse(query.get(AFTER)), size)
    }

    /// The ways from there; `next`: the last row that is shown, where there are more.
    pub(super) fn new(query: &Fields, next: Option<&After>) -> Self {
        Self {
            newest: After::parse(query.get(AFTER)).map(|_| query.with(AFTER, "")),
            earlier: next.map(|next| query.with(AFTER, &next.to_string())),
        }
    }
}

/// The query's name for the row before.
pub(super) const AFTER: &str = "after";

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(rows: usize, query: &str) -> (Vec<usize>, String) {
        let mut rows: Vec<usize> = (0..rows).collect();
        let pager = Pager::cut(&mut rows, &Fields::parse(query.as_bytes())).render().unwrap();
        (rows, pager)
    }

    #[test]
    fn pages_keep_what_was_asked_for_and_nothing_is_lost_between_them() {
        assert_eq!(cut(0, ""), (vec![], String::new()));
        assert_eq!(cut(100, "").1, "");
        let (first, pager) = cut(250, "q=a+b&sort=name");
        assert!(first == (0..100).collect::<Vec<_>>() && pager.contains("1–100 of 250"), "{pager}");
        assert!(pager.contains("?q=a+b&#38;sort=name&#38;page=1") && !pager.contains("Previous"), "{pager}");
        let (second, pager) = cut(250, "q=a+b&sort=name&page=1");
        assert!(second == (100..200).collect::<Vec<_>>() && pager.contains("\"?q=a+b&#38;sort=name\""), "{pager}");
        // One that is past the end shows the last.
        let (last, pager) = cut(250, "page=9");
        assert!(last == (200..250).collect::<Vec<_>>() && pager.contains("201–250 of 250"), "{pager}");
        assert!(!pager.contains("Next"), "{pager}");
    }
}
