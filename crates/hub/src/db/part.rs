//! Which part of a list is asked for: a page by its number, or what comes after a row.
//!
//! Pages by number are the contract's. A list that grows while somebody goes through it shifts under them, and the far end of a long one
//! costs the reading of all that lies before it; what comes after a row has neither fault.

use std::fmt;

/// A row that was the last of a part, as the next request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct After {
    /// What it was sorted by; empty where that is its id alone.
    pub(crate) key: String,
    pub(crate) id: String,
}

impl After {
    /// A row of a list that is in the order of its ids, or whose order the database knows by them.
    pub(crate) fn id(id: &str) -> Self {
        Self { key: String::new(), id: id.to_owned() }
    }

    /// Reads one, as it is displayed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, key) = text.split_once('.').unwrap_or((text, ""));
        let is_small = !id.bytes().any(|byte| byte.is_ascii_uppercase());
        uuid::Uuid::try_parse(id).ok().filter(|_| id.len() == 36 && is_small)?;
        Some(Self { key: key.to_owned(), id: id.to_owned() })
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() { f.write_str(&self.id) } else { write!(f, "{}.{}", self.id, self.key) }
    }
}

/// A part of a list.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Rows at most.
    pub(crate) size: i64,
    /// From 0; not looked at where `after` is.
    pub(crate) page: i64,
    pub(crate) after: Option<After>,
}

impl Part {
    /// The first so many.
    pub(crate) fn first(size: i64) -> Self {
        Self { size, page: 0, after: None }
    }

    /// What comes after a row, and from the beginning where there is none.
    pub(crate) fn after(after: Option<After>, size: i64) -> Self {
        Self { after, ..Self::first(size) }
    }

    /// Rows to be read: one more than wanted shows whether there are more.
    pub(super) fn limit(&self) -> i64 {
        self.size.saturating_add(1)
    }

    /// Rows to be left out before.
    pub(crate) fn offset(&self) -> i64 {
        if self.after.is_some() { 0 } else { self.page.saturating_mul(self.size) }
    }

    /// The id of the row before; otherwise `none`, which stands before or behind all of them.
    pub(super) fn after_id<'a>(&'a self, none: &'a str) -> &'a str {
        self.after.as_ref().map_or(none, |after| after.id.as_str())
    }
}

/// Stands behind every id, in whatever order a database has letters.
pub(super) const LAST: &str = "z";

/// What was found.
#[derive(Debug)]
pub(crate) struct Found<T> {
    pub(crate) rows: Vec<T>,
    /// The last of these rows, where there are more.
    pub(crate) next: Option<After>,
}

impl<T> Found<T> {
    /// Rows of which there may be one too many.
    pub(crate) fn new(mut rows: Vec<T>, part: &Part, after: impl Fn(&T) -> After) -> Self {
        let size = usize::try_from(part.size).unwrap_or(usize::MAX);
        let has_more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| has_more).map(after);
        Self { rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_row_is_read_as_it_was_written() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        for after in [After::id(id), After { key: "a.b c~\u{e9}".into(), id: id.into() }] {
            assert_eq!(After::parse(&after.to_string()), Some(after));
        }
        for text in ["", "1", ".x", "01890a5dac96774bbcceb302099a8057", "01890a5d-ac96-774b-bcce-b302099a805g"] {
            assert_eq!(After::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_row_too_many_says_that_there_are_more() {
        let id = |number: &i64| After::id(&number.to_string());
        let found = Found::new(vec![1, 2, 3], &Part::first(2), id);
        assert_eq!((found.rows, found.next), (vec![1, 2], Some(After::id("2"))));
        let found = Found::new(vec![1, 2], &Part::first(2), id);
        assert_eq!((found.rows, found.next), (vec![1, 2], None));
    }
}
