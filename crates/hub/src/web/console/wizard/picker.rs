//! Choosing tables among those that the agent found: searched, page by page, ten thousand as well as ten.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use super::{Answer, Trail, answer};
use crate::app::App;
use crate::db::drafts::Draft;
use crate::web::console::page::{Mishap, Shell, Wrong, with_status};
use crate::web::console::show::{Summary, bytes, count, filters};
use crate::web::console::visitor::{Fields, Visitor};

/// Tables on a page.
const SIZE: usize = 100;

struct Row {
    /// `schema.table`, as it is sent back.
    name: String,
    schema: String,
    table: String,
    key: String,
    rows: String,
    size: String,
    warning: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "wizard_tables.html")]
pub(crate) struct TablesPage {
    shell: Shell,
    trail: Trail,
    summary: Summary,
    state: &'static str,
    message: String,
    cure: String,
    rows: Vec<Row>,
    total: usize,
    found: usize,
    chosen: Vec<String>,
    q: String,
    page: usize,
    pages: usize,
}

/// What is chosen so far.
fn chosen(draft: &Draft) -> Vec<(String, String)> {
    let spec = draft.spec();
    let tables = spec.get("streamingSource").and_then(|source| source.get("tables")).and_then(Value::as_array);
    let text = |table: &Value, name: &str| table.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    tables.map_or_else(Vec::new, |tables| {
        tables.iter().map(|table| (text(table, "schema"), text(table, "table"))).collect()
    })
}

fn row(table: &Value, chosen: &[(String, String)]) -> Row {
    let text = |name: &str| table[name].as_str().unwrap_or_default().to_owned();
    let (schema, name) = (text("schema"), text("table"));
    let key: Vec<&str> = table["key"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let findings = table["findings"].as_array().into_iter().flatten();
    let warnings: Vec<&str> = findings.filter_map(|found| found["message"].as_str()).collect();
    Row {
        is_chosen: chosen.iter().any(|(s, t)| *s == schema && *t == name),
        name: format!("{schema}.{name}"),
        key: key.join(", "),
        rows: table["rows_estimate"].as_u64().map_or_else(String::new, count),
        size: table["bytes"].as_u64().map_or_else(String::new, bytes),
        warning: warnings.join("; "),
        schema,
        table: name,
    }
}

pub(crate) async fn tables_page(
    app: &App,
    visitor: &Visitor,
    draft: &Draft,
    (query, wrong): (&Fields, Wrong),
) -> Result<TablesPage, Mishap> {
    let Answer { state, result } = answer(app, visitor, draft, "discover").await?;
    let picked = chosen(draft);
    let all = result["tables"].as_array().map_or(&[][..], Vec::as_slice);
    let q = query.get("q").trim().to_lowercase();
    let mut rows: Vec<Row> = all.iter().map(|table| row(table, &picked)).collect();
    rows.retain(|row| row.name.to_lowercase().contains(&q));
    rows.sort_by(|a, b| (&a.schema, &a.table).cmp(&(&b.schema, &b.table)));
    let found = rows.len();
    let pages = found.div_ceil(SIZE).max(1);
    let page = query.get("page").parse::<usize>().unwrap_or(0).min(pages - 1);
    Ok(TablesPage {
        shell: visitor.shell("Create pipeline", "pipelines"),
        trail: Trail::of(draft, "tables"),
        summary: Summary(wrong),
        state,
        message: result["message"].as_str().unwrap_or_default().to_owned(),
        cure: result["cure"].as_str().unwrap_or_default().to_owned(),
        rows: rows.into_iter().skip(page * SIZE).take(SIZE).collect(),
        total: all.len(),
        found,
        chosen: picked.into_iter().map(|(schema, table)| format!("{schema}.{table}")).collect(),
        q: query.get("q").to_owned(),
        page,
        pages,
    })
}

/// Takes over the marks of the page that was shown, and goes where the button says.
pub(crate) async fn keep(app: &App, visitor: &Visitor, mut draft: Draft, fields: &Fields) -> Result<Response, Mishap> {
    let shown: Vec<&str> = fields.all("shown").collect();
    let mut names: Vec<String> =
        chosen(&draft).into_iter().map(|(schema, table)| format!("{schema}.{table}")).collect();
    names.retain(|name| !shown.contains(&name.as_str()));
    match fields.get("go") {
        "all" => names.extend(shown.iter().map(|name| (*name).to_owned())),
        "none" => {}
        _ => names.extend(fields.all("table").map(str::to_owned)),
    }
    let mut wrong = Wrong::default();
    for line in fields.get("more").lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once('.') {
            Some((schema, table)) if !schema.is_empty() && !table.is_empty() => names.push(line.to_owned()),
            _ => wrong.add("more", format!("must be schema.table on each line, not `{line}`")),
        }
    }
    names.sort();
    names.dedup();
    let tables: Vec<Value> = names
        .iter()
        .filter_map(|name| name.split_once('.'))
        .map(|(schema, table)| json!({"schema": schema, "table": table}))
        .collect();
    let go = fields.get("go");
    if tables.is_empty() && go == "next" {
        wrong.add("more", "must be chosen: at least one table");
    }
    let mut spec = draft.spec();
    if let Some(Value::Object(source)) = spec.get_mut("streamingSource") {
        source.insert("tables".into(), tables.into());
    }
    draft.body = Value::Object(spec).to_string();
    app.keep_draft(draft.clone()).await?;
    if wrong.any() {
        let again = tables_page(app, visitor, &draft, (fields, wrong)).await?;
        return Ok(with_status(StatusCode::BAD_REQUEST, &again));
    }
    let query = |page: usize| {
        let q: String = form_urlencoded::byte_serialize(fields.get("q").as_bytes()).collect();
        format!("/pipelines/new/{}/tables?q={q}&page={page}", draft.id)
    };
    let page = fields.get("page").parse::<usize>().unwrap_or(0);
    let next = match go {
        "next" => format!("/pipelines/new/{}/target", draft.id),
        "forward" => query(page.saturating_add(1)),
        "back" => query(page.saturating_sub(1)),
        "search" => query(0),
        _ => query(page),
    };
    Ok(Redirect::to(&next).into_response())
}
