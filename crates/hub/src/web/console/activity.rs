//! Who did what: the account's audit log.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use millrace_model::Timestamp;

use super::page::{Mishap, Shell, page};
use super::pager::Earlier;
use super::pipeline::{Head, head};
use super::show::{Pick, When, filters};
use super::visitor::{Fields, Visitor};
use crate::app::App;
use crate::auth::Role;
use crate::db::audit::{Line, Wanted};

struct Row {
    when: When,
    who: String,
    action: String,
    object: String,
    link: Option<String>,
    address: String,
    outcome: String,
    /// What is known of a refusal.
    why: String,
}

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    shell: Shell,
    rows: Vec<Row>,
    what: Vec<Pick>,
    who: Vec<Pick>,
    is_filtered: bool,
    earlier: Earlier,
}

const SIZE: i64 = 50;
/// Also the tokens that were given.
const ALL: &str = "all";
/// What can be chosen, and whether it is for owners alone: first words of actions.
const KINDS: [(&str, &str, bool); 14] = [
    ("", "Everything but tokens given", false),
    (ALL, "Everything", true),
    ("agent", "Agents", false),
    ("pipeline", "Pipelines", false),
    ("credentials", "Credentials", false),
    ("person", "People and sign-ins", true),
    ("client", "API clients", true),
    ("token", "Tokens", true),
    ("account", "Account", true),
    ("project", "Projects", true),
    ("webhook", "Webhooks", true),
    ("email", "E-mail recipients", true),
    ("access", "Refused by role", true),
    ("address", "Refused by address", true),
];

/// What the query asks for. A token is given to every caller once an hour and more: who wants to see that says so.
fn wanted(query: &Fields) -> Wanted {
    let action = query.get("action");
    let is_kind = action != ALL;
    Wanted {
        action: if is_kind { action.to_owned() } else { String::new() },
        actor: query.get("actor").to_owned(),
        quiet: action.is_empty(),
        ..Wanted::default()
    }
}

/// What can be chosen for one field; what an address asks for beside it stands there, too.
fn picks(all: impl Iterator<Item = (String, String)>, chosen: &str, spelled: impl Fn(&str) -> String) -> Vec<Pick> {
    let mut picks: Vec<Pick> = all.map(|(value, text)| Pick::new(value, text, chosen)).collect();
    if !picks.iter().any(|pick| pick.is_chosen) {
        picks.push(Pick::new(chosen, spelled(chosen), chosen));
    }
    picks
}

/// Everyone who can have done something: people, API clients, agents, each by name.
fn actors<'a>(names: impl Iterator<Item = (&'a String, &'a String)>) -> impl Iterator<Item = (String, String)> {
    let shown = |(who, name): (&String, &String)| {
        let after = match who.split_once(':') {
            Some(("person", _)) => "",
            Some(("client", _)) => " (API client)",
            Some(("agent", _)) => " (agent)",
            _ => return None,
        };
        Some((who.clone(), format!("{name}{after}")))
    };
    let mut all: Vec<(String, String)> = names.filter_map(shown).collect();
    all.sort_by_key(|(who, name)| (name.to_lowercase(), who.clone()));
    let always = [("", "Everyone"), ("hub", "The hub itself"), ("unknown", "Somebody unknown")];
    always.into_iter().map(|(who, text)| (who.to_owned(), text.to_owned())).chain(all)
}

pub(crate) async fn list(State(app): State<Arc<App>>, visitor: Visitor, query: Fields) -> Result<Response, Mishap> {
    let found = app.activity(&visitor.caller, wanted(&query), &Earlier::part(&query, SIZE)).await?;
    let earlier = Earlier::new(&query, found.next.as_ref());
    let deeds = found.rows;
    let now = app.now();
    let names = app.names(&visitor.caller).await?;
    let is_owner = visitor.caller.role >= Role::Owner;
    let kinds = KINDS.iter().filter(|(_, _, of_owners)| is_owner || !of_owners);
    let kinds = kinds.map(|(word, text, _)| ((*word).to_owned(), (*text).to_owned()));
    let what = picks(kinds, query.get("action"), spoken);
    // Who is no owner is shown nobody but those whose deeds are.
    let known = names.iter().filter(|(who, _)| is_owner || deeds.iter().any(|deed| deed.actor == **who));
    let who = picks(actors(known), query.get("actor"), str::to_owned);
    let rows = deeds.into_iter().map(|deed| row(deed, &names, is_owner, now));
    let shell = visitor.shell("Activity", "activity");
    let is_filtered = !query.get("action").is_empty() || !query.get("actor").is_empty();
    Ok(page(&ActivityPage { shell, rows: rows.collect(), what, who, is_filtered, earlier }))
}

fn row(deed: Line, names: &HashMap<String, String>, is_owner: bool, now: Timestamp) -> Row {
    let called = |what: &str| names.get(what).cloned().unwrap_or_else(|| what.to_owned());
    Row {
        when: When::new(deed.at, now),
        who: match deed.actor.split_once(':') {
            Some(("client", _)) => format!("{} (API client)", called(&deed.actor)),
            _ => called(&deed.actor),
        },
        link: match deed.object.split_once(':') {
            Some(("agent", id)) if !deed.action.ends_with("remove") => Some(format!("/agents/{id}")),
            Some(("person", id)) if is_owner && deed.action != "person.remove" => Some(format!("/people/{id}")),
            Some(("pipeline", id)) if !deed.action.ends_with("delete") => Some(format!("/pipelines/{id}")),
            _ => None,
        },
        action: spoken(&deed.action),
        object: called(&deed.object),
        address: deed.address,
        why: if deed.outcome == "done" { String::new() } else { deed.detail },
        outcome: deed.outcome,
    }
}

#[derive(Template)]
#[template(path = "pipeline_activity.html")]
struct OfPipelinePage {
    shell: Shell,
    head: Head,
    rows: Vec<Row>,
    earlier: Earlier,
}

/// Who did what to one pipeline.
pub(crate) async fn of_pipeline(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let (placed, now) = (app.placed(&visitor.caller, &id).await?, app.now());
    let wanted = Wanted { object: format!("pipeline:{id}"), ..Wanted::default() };
    let found = app.activity(&visitor.caller, wanted, &Earlier::part(&query, SIZE)).await?;
    let names = app.names(&visitor.caller).await?;
    let is_owner = visitor.caller.role >= Role::Owner;
    Ok(page(&OfPipelinePage {
        shell: visitor.shell(&placed.pipeline.name, "pipelines"),
        head: head(&placed, "activity", now),
        earlier: Earlier::new(&query, found.next.as_ref()),
        rows: found.rows.into_iter().map(|deed| row(deed, &names, is_owner, now)).collect(),
    }))
}

/// `agent.create` as one would say it.
fn spoken(action: &str) -> String {
    match action.split_once('.') {
        Some(("person", done)) => done.replace('_', " "),
        // `add_key`: what was added is said already.
        Some(("credentials", done)) if done.contains('_') => done.replace('_', " "),
        Some((what, done)) => format!("{} {what}", done.replace('_', " ")),
        None => action.replace('_', " "),
    }
}
