//! The documentation, as it is in the repository: a page for each code of an error and of a problem, and what they lead to.
//! For everybody: whoever meets a code may not be able to sign in.

mod markdown;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::assets::{self, Linked};
use super::page::{Mishap, page};
use super::visitor::Guest;
use crate::fault::Refused;

include!(concat!(env!("OUT_DIR"), "/documents.rs"));

/// The table of contents.
const FIRST: &str = "README";

#[derive(Template)]
#[template(path = "doc.html")]
struct DocPage {
    assets: &'static Linked,
    theme: &'static str,
    title: String,
    is_first: bool,
    body: String,
}

fn text_of(place: &str) -> Option<&'static str> {
    let at = PAGES.binary_search_by(|(name, _)| (*name).cmp(place)).ok()?;
    PAGES.get(at).map(|(_, text)| *text)
}

/// The address of a page about a code; none where there is no such page.
pub(crate) fn about(code: &str) -> Option<String> {
    let word = ["errors", "problems"].into_iter().map(|folder| format!("{folder}/{code}"));
    if let Some(place) = word.into_iter().find(|place| text_of(place).is_some()) {
        return Some(format!("/docs/{place}"));
    }
    let is_told = text_of("reference/codes").is_some_and(|text| text.contains(&format!("### `{code}`\n")));
    is_told.then(|| format!("/docs/reference/codes#{code}"))
}

/// Where a link of a page leads: to a page that is here, to another site, or nowhere.
fn address(from: &str, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with('#') {
        return Some(link.to_owned());
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let mut place: Vec<&str> = from.split('/').collect();
    place.pop();
    for part in path.strip_suffix(".md")?.split('/') {
        match part {
            ".." => drop(place.pop()?),
            part => place.push(part),
        }
    }
    let place = place.join("/");
    text_of(&place)?;
    let anchor = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
    let place = if place == FIRST { String::new() } else { format!("/{place}") };
    Some(format!("/docs{place}{anchor}"))
}

fn shown(place: &str, guest: &Guest) -> Result<Response, Mishap> {
    let text = text_of(place).ok_or(Refused::NotFound("this page of the documentation"))?;
    let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
    Ok(page(&DocPage {
        assets: assets::linked(),
        theme: guest.look.theme,
        title: title.trim_start_matches("# ").replace('`', ""),
        is_first: place == FIRST,
        body: markdown::html(rest, &|link| address(place, link)),
    }))
}

pub(crate) async fn contents(guest: Guest) -> Result<Response, Mishap> {
    shown(FIRST, &guest)
}

pub(crate) async fn document(Path(place): Path<String>, guest: Guest) -> Result<Response, Mishap> {
    shown(place.trim_end_matches('/'), &guest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_a_page_that_is_served_leads_to_a_page_or_is_a_document_for_builders() {
        // What is about the code itself is not served.
        let for_builders = |link: &str| {
            ["ARCHITECTURE", "adr/", "benchmarks", "CHANGELOG", "CONTRIBUTING", "openapi.json"]
                .iter()
                .any(|name| link.contains(name))
        };
        for (place, text) in PAGES {
            let missing = std::cell::RefCell::new(Vec::new());
            markdown::html(text, &|link| {
                let found = address(place, link);
                if found.is_none() && !for_builders(link) {
                    missing.borrow_mut().push(link.to_owned());
                }
                found
            });
            assert_eq!(missing.into_inner(), [""; 0], "{place}");
        }
        assert!(PAGES.len() > 100, "only {} pages", PAGES.len());
        assert!(PAGES.is_sorted());
    }

    #[test]
    fn a_code_is_explained_by_its_page() {
        assert_eq!(about("PG-012").as_deref(), Some("/docs/errors/PG-012"));
        assert_eq!(about("name_taken").as_deref(), Some("/docs/problems/name_taken"));
        assert_eq!(about("retrying").as_deref(), Some("/docs/reference/codes#retrying"));
        assert_eq!(about("../errors/PG-012"), None);
        assert_eq!(
            address("errors/PG-001", "../how-to/console.md#others").as_deref(),
            Some("/docs/how-to/console#others")
        );
        assert_eq!(address("README", "../../x.md"), None);
    }
}
