//! Who did what: the account's audit log.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::page::{Mishap, Shell, page};
use super::show::{When, filters};
use super::visitor::{Fields, Visitor};
use crate::app::App;
use crate::auth::Role;

struct Row {
    when: When,
    who: String,
    action: String,
    object: String,
    link: Option<String>,
    address: String,
    outcome: String,
}

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    shell: Shell,
    rows: Vec<Row>,
    earlier: Option<i64>,
    later: Option<i64>,
}

const SIZE: i64 = 50;

pub(crate) async fn list(State(app): State<Arc<App>>, visitor: Visitor, query: Fields) -> Result<Response, Mishap> {
    let at = query.get("page").parse::<i64>().unwrap_or(0).clamp(0, 1_000_000);
    let deeds = app.activity(&visitor.caller, at, SIZE).await?;
    let earlier = (i64::try_from(deeds.len()).unwrap_or_default() == SIZE).then_some(at + 1);
    let now = app.now();
    let names = app.names(&visitor.caller).await?;
    let called = |what: &str| names.get(what).cloned().unwrap_or_else(|| what.to_owned());
    let rows = deeds.into_iter().map(|deed| Row {
        when: When::new(deed.at, now),
        who: match deed.actor.split_once(':') {
            Some(("client", _)) => format!("{} (API client)", called(&deed.actor)),
            _ => called(&deed.actor),
        },
        link: match deed.object.split_once(':') {
            Some(("agent", id)) if !deed.action.ends_with("remove") => Some(format!("/agents/{id}")),
            Some(("person", id)) if visitor.caller.role >= Role::Owner && deed.action != "person.remove" => {
                Some(format!("/people/{id}"))
            }
            Some(("pipeline", id)) if !deed.action.ends_with("delete") => Some(format!("/pipelines/{id}")),
            _ => None,
        },
        action: spoken(&deed.action),
        object: called(&deed.object),
        address: deed.address,
        outcome: deed.outcome,
    });
    let shell = visitor.shell("Activity", "activity");
    Ok(page(&ActivityPage { shell, rows: rows.collect(), earlier, later: (at > 0).then_some(at - 1) }))
}

/// `agent.create` as one would say it.
fn spoken(action: &str) -> String {
    match action.split_once('.') {
        Some(("person", done)) => done.replace('_', " "),
        Some((what, done)) => format!("{} {what}", done.replace('_', " ")),
        None => action.replace('_', " "),
    }
}
