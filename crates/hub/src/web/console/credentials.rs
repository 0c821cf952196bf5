//! Credentials of an agent: which secrets it has, shown, rotated, revoked. The password is asked for each time.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::{Confirmation, confirmed, last_used, own_password};
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Badge, Choice, Field, Pick, Shape, Summary, When};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::credentials::Revealed;
use crate::db::agents::Agent;
use crate::db::credentials::Credential;
use crate::fault::Refused;

struct Row {
    id: String,
    badge: Badge,
    created: When,
    author: String,
    used: Option<When>,
    from: String,
    ends: String,
    /// Whether it can be revoked: another one is alive beside it.
    is_spare: bool,
}

#[derive(Template)]
#[template(path = "agent_credentials.html")]
struct CredentialsPage {
    shell: Shell,
    id: String,
    name: String,
    client_id: String,
    rows: Vec<Row>,
    /// What to do next, while two secrets are alive.
    advice: &'static str,
    can_rotate: bool,
    summary: Summary,
    password: Field,
    revealed: Option<Revealed>,
}

/// How many revoked and expired secrets are shown.
const PAST: usize = 5;

async fn credentials_page(
    app: &App,
    visitor: &Visitor,
    agent: &Agent,
    (wrong, revealed): (Wrong, Option<Revealed>),
) -> Result<CredentialsPage, Mishap> {
    let now = app.now();
    let known = app.credentials(&visitor.caller, &agent.id).await?;
    let names = app.names(&visitor.caller).await?;
    let alive: Vec<&Credential> = known.iter().filter(|secret| secret.is_alive(now)).collect();
    let not_revoked = known.iter().filter(|secret| secret.revoked_at.is_none()).count();
    let advice = match alive[..] {
        [new, _] if new.last_used_at.is_none() => {
            "Two secrets are alive. Deploy the new one; when it shows here as used, revoke the old one."
        }
        [_, _] => "The new secret is in use. Revoke the old one.",
        _ => "",
    };
    let newest = alive.first().map(|secret| secret.id.clone());
    let row = |secret: &Credential| Row {
        id: secret.id.clone(),
        badge: badge(secret, newest.as_deref(), now),
        created: When::new(secret.created_at, now),
        author: names.get(&secret.created_by).cloned().unwrap_or_else(|| secret.created_by.clone()),
        used: secret.last_used_at.map(|at| When::new(at, now)),
        from: secret.last_address.clone().unwrap_or_default(),
        ends: secret.expires_at.map_or_else(String::new, |at| at.to_string().chars().take(10).collect()),
        is_spare: secret.revoked_at.is_none() && not_revoked > 1,
    };
    let past = known.iter().filter(|secret| !secret.is_alive(now)).take(PAST);
    Ok(CredentialsPage {
        shell: visitor.shell(format!("Credentials of {}", agent.name), "agents"),
        id: agent.id.clone(),
        name: agent.name.clone(),
        client_id: agent.client_id.clone(),
        rows: alive.iter().copied().chain(past).map(row).collect(),
        advice,
        can_rotate: alive.len() < 2,
        password: own_password(&wrong),
        summary: Summary(wrong),
        revealed,
    })
}

fn badge(secret: &Credential, newest: Option<&str>, now: millrace_model::Timestamp) -> Badge {
    match (secret.revoked_at, secret.is_alive(now)) {
        (Some(_), _) => Badge::new(Shape::Square, "quiet", "Revoked"),
        (None, false) => Badge::new(Shape::Triangle, "bad", "Expired"),
        (None, true) if newest != Some(&secret.id) => Badge::new(Shape::Half, "doubt", "Old"),
        (None, true) if secret.last_used_at.is_none() => Badge::new(Shape::Ring, "busy", "New"),
        (None, true) => Badge::new(Shape::Dot, "good", "Current"),
    }
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&credentials_page(&app, &visitor, &agent, (Wrong::default(), None)).await?))
}

pub(crate) async fn reveal(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        let again = credentials_page(&app, &visitor, &agent, (wrong, None)).await?;
        return Ok(with_status(StatusCode::UNAUTHORIZED, &again));
    }
    let revealed = app.reveal_credentials(&visitor.caller, &id).await?;
    Ok(page(&credentials_page(&app, &visitor, &agent, (Wrong::default(), Some(revealed))).await?))
}

#[derive(Template)]
#[template(path = "agent_rotate.html")]
struct RotationPage {
    shell: Shell,
    id: String,
    name: String,
    summary: Summary,
    ends: Choice,
    password: Field,
}

const LIVES: [(&str, &str); 5] =
    [("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("180", "In 180 days"), ("365", "In a year")];

fn rotation_page(visitor: &Visitor, agent: &Agent, fields: &Fields, wrong: Wrong) -> RotationPage {
    let lives = LIVES.iter().map(|(days, words)| Pick::new(*days, *words, fields.get("days")));
    RotationPage {
        shell: visitor.shell(format!("Rotate the secret of {}", agent.name), "agents"),
        id: agent.id.clone(),
        name: agent.name.clone(),
        ends: Choice::of("days", "The new secret expires", lives.collect(), &wrong)
            .help("The agent's conditions say so 30 days, 7 days and 1 day before.")
            .optional(),
        password: own_password(&wrong),
        summary: Summary(wrong),
    }
}

pub(crate) async fn rotation(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&rotation_page(&visitor, &agent, &Fields::default(), Wrong::default())))
}

pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        return Ok(with_status(StatusCode::UNAUTHORIZED, &rotation_page(&visitor, &agent, &fields, wrong)));
    }
    let days = LIVES.iter().find(|(days, _)| *days == fields.get("days")).and_then(|(days, _)| days.parse().ok());
    app.rotate_credentials(&visitor.caller, &id, days, None).await?;
    let revealed = app.reveal_credentials(&visitor.caller, &id).await?;
    Ok(page(&credentials_page(&app, &visitor, &agent, (Wrong::default(), Some(revealed))).await?))
}

async fn revocation_page(
    app: &App,
    visitor: &Visitor,
    (agent, secret): (&Agent, &str),
    wrong: Wrong,
) -> Result<Confirmation, Mishap> {
    let now = app.now();
    let known = app.credentials(&visitor.caller, &agent.id).await?;
    let at = known.iter().position(|one| one.id == secret && one.revoked_at.is_none());
    let at = at.ok_or(Refused::NotFound("the secret"))?;
    let used = known.get(at).and_then(|one| one.last_used_at);
    let others = known.iter().filter(|one| one.id != secret && one.is_alive(now));
    let newest_use = others.filter_map(|one| one.last_used_at).max();
    let mut consequences =
        vec!["it stops working at once, and so do the tokens that were got with it".to_owned(), last_used(used, now)];
    if used > newest_use {
        consequences.push(
            "no other secret of this agent was used since: if its process has this one, it loses the hub until it gets \
             the other. Its pipeline goes on meanwhile"
                .into(),
        );
    }
    let address = format!("/agents/{}", agent.id);
    Ok(Confirmation {
        shell: visitor.shell(format!("Revoke a secret of {}", agent.name), "agents"),
        crumbs: vec![
            ("/agents".into(), "Agents".into()),
            (address.clone(), agent.name.clone()),
            (format!("{address}/credentials"), "Credentials".into()),
        ],
        title: format!("Revoke a secret of {}", agent.name),
        lead: "This cannot be undone.",
        consequences,
        password: own_password(&wrong),
        summary: Summary(wrong),
        button: "Revoke secret",
    })
}

pub(crate) async fn revocation(
    State(app): State<Arc<App>>,
    Path((id, secret)): Path<(String, String)>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&revocation_page(&app, &visitor, (&agent, &secret), Wrong::default()).await?))
}

pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Path((id, secret)): Path<(String, String)>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        let again = revocation_page(&app, &visitor, (&agent, &secret), wrong).await?;
        return Ok(with_status(StatusCode::UNAUTHORIZED, &again));
    }
    app.revoke_credential(&visitor.caller, &id, &secret).await?;
    Ok(Redirect::to(&format!("/agents/{id}/credentials")).into_response())
}
