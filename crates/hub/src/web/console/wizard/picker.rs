//! Choosing tables among those that the agent found: searched, by schema, page by page, ten thousand as well as ten.
//!
//! What is chosen stays in its order, also across pages that are not shown: a choice is changed, never made anew.

use std::collections::{BTreeMap, HashSet};

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use super::asked::{self, Answer, Question, answer};
use super::{Trail, form};
use crate::app::App;
use crate::db::drafts::Draft;
use crate::web::console::json as member;
use crate::web::console::page::{Mishap, Shell, Wrong, with_status};
use crate::web::console::show::{Summary, bytes, count, filters};
use crate::web::console::visitor::{Fields, Visitor};

/// Tables on a page.
const SIZE: usize = 100;

/// A schema and a table of it.
type Name = (String, String);

struct Row {
    /// Schema and table as JSON, as it is sent back: a name may hold any character.
    value: String,
    name: Name,
    key: String,
    rows: String,
    size: String,
    warning: String,
    /// It cannot be carried as it is.
    is_barred: bool,
    is_chosen: bool,
    /// `schema.*` is chosen, which takes it.
    is_covered: bool,
}

#[derive(Template)]
#[template(path = "wizard_tables.html")]
pub(crate) struct TablesPage {
    shell: Shell,
    trail: Trail,
    summary: Summary,
    state: &'static str,
    foreign: String,
    message: String,
    cure: String,
    rows: Vec<Row>,
    /// Of all, of those that were told, of those that match.
    total: usize,
    told: usize,
    found: usize,
    chosen: Vec<String>,
    /// Schemas, how many tables each has, and whether it is the one that is shown.
    schemas: Vec<(String, usize, bool)>,
    q: String,
    only: String,
    page: usize,
    pages: usize,
}

/// What is chosen so far.
fn chosen(draft: &Draft) -> Vec<Name> {
    let spec = draft.spec();
    let tables = form::at(&spec, &["streamingSource", "tables"]).and_then(Value::as_array).cloned();
    tables.unwrap_or_default().iter().map(named).collect()
}

fn named(table: &Value) -> Name {
    (member::text(table, "/schema").to_owned(), member::text(table, "/table").to_owned())
}

fn shown(name: &Name) -> String {
    format!("{}.{}", name.0, name.1)
}

fn row(table: &Value, picked: &HashSet<&Name>) -> Row {
    let name = named(table);
    let key: Vec<&str> = member::list(table, "/key").iter().filter_map(Value::as_str).collect();
    let findings = || member::list(table, "/findings").iter();
    let prefix = format!("{} ", shown(&name));
    let message = |found: &Value| {
        let text = member::at(found, "/message").as_str()?;
        Some(text.strip_prefix(&prefix).unwrap_or(text).to_owned())
    };
    let every = (name.0.clone(), "*".to_owned());
    Row {
        is_chosen: picked.contains(&name),
        is_covered: picked.contains(&every),
        is_barred: findings()
            .any(|found| member::text(found, "/severity") == "error" || member::text(found, "/code") == "PG-017"),
        value: json!([name.0, name.1]).to_string(),
        key: key.join(", "),
        rows: member::at(table, "/rows_estimate").as_u64().map_or_else(String::new, count),
        size: member::at(table, "/bytes").as_u64().map_or_else(String::new, bytes),
        warning: findings().filter_map(message).collect::<Vec<_>>().join("; "),
        name,
    }
}

/// What the query asks for of the tables that were found.
struct Wanted {
    q: String,
    schema: String,
    only: String,
}

impl Wanted {
    fn of(query: &Fields) -> Self {
        Self {
            q: query.get("q").trim().to_lowercase(),
            schema: query.get("schema").to_owned(),
            only: query.get("only").to_owned(),
        }
    }

    fn takes(&self, row: &Row) -> bool {
        let is_marked = match self.only.as_str() {
            "chosen" => row.is_chosen || row.is_covered,
            "warned" => !row.warning.is_empty(),
            _ => true,
        };
        is_marked
            && (self.schema.is_empty() || row.name.0 == self.schema)
            && (self.q.is_empty() || shown(&row.name).to_lowercase().contains(&self.q))
    }

    /// The tables that match, by name.
    fn rows(&self, all: &[Value], picked: &[Name]) -> Vec<Row> {
        let set: HashSet<&Name> = picked.iter().collect();
        let mut rows: Vec<Row> = all.iter().map(|table| row(table, &set)).filter(|row| self.takes(row)).collect();
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        rows
    }
}

fn schemas(all: &[Value], wanted: &str) -> Vec<(String, usize, bool)> {
    let mut schemas: BTreeMap<&str, usize> = BTreeMap::new();
    for table in all {
        *schemas.entry(member::text(table, "/schema")).or_default() += 1;
    }
    schemas.into_iter().map(|(name, tables)| (name.to_owned(), tables, name == wanted)).collect()
}

pub(super) async fn tables_page(
    app: &App,
    visitor: &Visitor,
    draft: &Draft,
    (query, wrong): (&Fields, Wrong),
) -> Result<TablesPage, Mishap> {
    let Answer { state, result } = answer(app, visitor, draft, Question::Tables).await?;
    let picked = chosen(draft);
    let all = member::list(&result, "/tables");
    let wanted = Wanted::of(query);
    let rows = wanted.rows(all, &picked);
    let found = rows.len();
    let pages = found.div_ceil(SIZE).max(1);
    let page = query.get("page").parse::<usize>().unwrap_or(0).min(pages - 1);
    let text = |path: &str| member::text(&result, path).to_owned();
    Ok(TablesPage {
        shell: visitor.shell("Create pipeline", "pipelines"),
        trail: Trail::of(draft, "tables"),
        summary: Summary(wrong),
        state,
        foreign: form::foreign(&draft.spec(), "streamingSource"),
        message: text("/message"),
        cure: text("/cure"),
        rows: rows.into_iter().skip(page * SIZE).take(SIZE).collect(),
        total: member::at(&result, "/total")
            .as_u64()
            .and_then(|total| usize::try_from(total).ok())
            .unwrap_or(all.len()),
        told: all.len(),
        found,
        chosen: picked.iter().map(shown).collect(),
        schemas: schemas(all, &wanted.schema),
        q: query.get("q").to_owned(),
        only: wanted.only,
        page,
        pages,
    })
}

/// A name as a row sent it.
fn sent(value: &str) -> Option<Name> {
    serde_json::from_str(value).ok()
}

/// What is chosen after this form: what was, less what was shown and is not marked, and what is marked or named.
fn choose(before: &[Name], marked: &[Name], shown: &HashSet<Name>) -> Vec<Name> {
    let kept: HashSet<&Name> = marked.iter().collect();
    let stays = before.iter().filter(|name| !shown.contains(*name) || kept.contains(name)).cloned();
    let mut all: Vec<Name> = Vec::new();
    let mut seen: HashSet<Name> = HashSet::new();
    for name in stays.chain(marked.iter().cloned()) {
        if seen.insert(name.clone()) {
            all.push(name);
        }
    }
    all
}

/// The names of a text, one a line.
fn typed(text: &str, wrong: &mut Wrong) -> Vec<Name> {
    let mut names = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once('.') {
            Some((schema, table)) if !schema.is_empty() && !table.is_empty() => {
                names.push((schema.to_owned(), table.to_owned()));
            }
            _ => wrong.add("more", format!("must be schema.table on each line, not `{line}`")),
        }
    }
    names
}

/// Takes over the marks of the page that was shown, and goes where the button says.
pub(super) async fn keep(app: &App, visitor: &Visitor, mut draft: Draft, fields: &Fields) -> Result<Response, Mishap> {
    let (go, before) = (fields.get("go"), chosen(&draft));
    let mut listed: HashSet<Name> = fields.all("shown").filter_map(sent).collect();
    let mut marked: Vec<Name> = match go {
        "all" => fields.all("shown").filter_map(sent).collect(),
        "none" => Vec::new(),
        _ => fields.all("table").filter_map(sent).collect(),
    };
    if matches!(go, "found" | "empty") {
        let told = answer(app, visitor, &draft, Question::Tables).await?.result;
        let all = member::list(&told, "/tables");
        let found = Wanted::of(fields).rows(all, &before);
        listed.extend(found.iter().map(|row| row.name.clone()));
        let usable = found.into_iter().filter(|row| !row.is_barred).map(|row| row.name);
        marked = if go == "found" { usable.collect() } else { Vec::new() };
    }
    let mut wrong = Wrong::default();
    marked.extend(typed(fields.get("more"), &mut wrong));
    let names = if go == "clear" { Vec::new() } else { choose(&before, &marked, &listed) };
    if names.is_empty() && go == "next" {
        wrong.add("more", "must be chosen: at least one table");
    }
    if names != before {
        let tables: Value = names.iter().map(|(schema, table)| json!({"schema": schema, "table": table})).collect();
        let mut spec = draft.spec();
        if let Some(Value::Object(source)) = spec.get_mut("streamingSource") {
            source.insert("tables".into(), tables);
        }
        draft.body = Value::Object(spec).to_string();
    }
    app.keep_draft(draft.clone()).await?;
    if wrong.any() {
        let again = tables_page(app, visitor, &draft, (fields, wrong)).await?;
        return Ok(with_status(StatusCode::BAD_REQUEST, &again));
    }
    if go == "again" {
        return asked::ask(app, visitor, draft, (Question::Tables, "tables")).await;
    }
    Ok(Redirect::to(&next(&draft.id, fields)).into_response())
}

/// Where the button leads.
fn next(draft: &str, fields: &Fields) -> String {
    let page = fields.get("page").parse::<usize>().unwrap_or(0);
    let page = match fields.get("go") {
        "next" => return format!("/pipelines/new/{draft}/target"),
        "forward" => page.saturating_add(1),
        "back" => page.saturating_sub(1),
        "search" => 0,
        _ => page,
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in ["q", "schema", "only"] {
        if !fields.get(name).is_empty() {
            query.append_pair(name, fields.get(name));
        }
    }
    query.append_pair("page", &page.to_string());
    format!("/pipelines/new/{draft}/tables?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(table: &str) -> Name {
        ("public".into(), table.into())
    }

    #[test]
    fn what_is_not_shown_stays_chosen_and_in_its_order() {
        let before = vec![name("z"), name("a"), name("m")];
        let shown = HashSet::from([name("a"), name("b")]);
        assert_eq!(choose(&before, &[name("b")], &shown), [name("z"), name("m"), name("b")]);
        assert_eq!(choose(&before, &[name("a")], &shown), before);
    }

    #[test]
    fn a_name_with_a_dot_or_a_quote_is_sent_back_as_it_is() {
        let odd = ("a.b".to_owned(), "c\"d.e".to_owned());
        assert_eq!(sent(&json!([odd.0, odd.1]).to_string()), Some(odd));
    }
}
