//! API clients: who they are, a new one with its secret shown once, and their end.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::{Confirmation, confirmed, last_used, own_password};
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::people::roles;
use super::show::{Choice, Field, Summary, When, filters};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;

struct Row {
    id: String,
    name: String,
    role: String,
    created: When,
    author: String,
    used: Option<When>,
    from: String,
}

/// What a new client signs in with.
struct Made {
    name: String,
    id: String,
    secret: String,
    /// Where it asks for a token.
    token_url: String,
}

#[derive(Template)]
#[template(path = "clients.html")]
struct ClientsPage {
    shell: Shell,
    rows: Vec<Row>,
    made: Option<Made>,
    summary: Summary,
    name: Field,
    role: Choice,
    password: Field,
}

async fn clients_page(
    app: &App,
    visitor: &Visitor,
    fields: &Fields,
    (wrong, made): (Wrong, Option<Made>),
) -> Result<ClientsPage, Mishap> {
    let now = app.now();
    let names = app.names(&visitor.caller).await?;
    let clients = app.clients(&visitor.caller).await?;
    let row = |client: crate::db::clients::ApiClient| Row {
        author: match client.created_by.as_str() {
            "hub" => "set up with the hub".into(),
            author => names.get(author).cloned().unwrap_or_else(|| author.to_owned()),
        },
        id: client.id,
        name: client.name,
        role: client.role,
        created: When::new(client.created_at, now),
        used: client.last_used_at.map(|at| When::new(at, now)),
        from: client.last_address.unwrap_or_default(),
    };
    let typed = if made.is_some() { &Fields::default() } else { fields };
    Ok(ClientsPage {
        shell: visitor.shell("API clients", "clients"),
        rows: clients.into_iter().map(row).collect(),
        made,
        name: Field::text("name", "Name", typed.get("name"), &wrong)
            .most(100)
            .help("What runs it: terraform, nightly-report."),
        role: Choice::of("role", "Role", roles(typed.get("role")), &wrong).help("As little as it needs."),
        password: own_password(&wrong),
        summary: Summary(wrong),
    })
}

pub(crate) async fn list(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, Mishap> {
    Ok(page(&clients_page(&app, &visitor, &Fields::default(), (Wrong::default(), None)).await?))
}

pub(crate) async fn create(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        let again = clients_page(&app, &visitor, &fields, (wrong, None)).await?;
        return Ok(with_status(StatusCode::UNAUTHORIZED, &again));
    }
    match app.create_client(&visitor.caller, fields.get("name").trim(), fields.get("role")).await {
        Ok((id, secret)) => {
            let token_url = format!("{}/oauth/dpc/token", app.settings.public_url);
            let made = Made { name: fields.get("name").trim().to_owned(), id, secret, token_url };
            Ok(page(&clients_page(&app, &visitor, &fields, (Wrong::default(), Some(made))).await?))
        }
        Err(refused) => {
            let again = clients_page(&app, &visitor, &fields, (Wrong::from(refused)?, None)).await?;
            Ok(with_status(StatusCode::BAD_REQUEST, &again))
        }
    }
}

async fn revocation_page(app: &App, visitor: &Visitor, id: &str, wrong: Wrong) -> Result<Confirmation, Mishap> {
    let client = app.client(&visitor.caller, id).await?;
    let used = last_used(client.last_used_at, app.now());
    Ok(Confirmation {
        shell: visitor.shell(format!("Revoke {}", client.name), "clients"),
        crumbs: vec![("/api-clients".into(), "API clients".into())],
        title: format!("Revoke {}", client.name),
        lead: "This cannot be undone.",
        consequences: vec!["its secret stops working at once, and so do its tokens".into(), used],
        password: own_password(&wrong),
        summary: Summary(wrong),
        button: "Revoke API client",
    })
}

pub(crate) async fn revocation(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    Ok(page(&revocation_page(&app, &visitor, &id, Wrong::default()).await?))
}

pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    app.client(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        return Ok(with_status(StatusCode::UNAUTHORIZED, &revocation_page(&app, &visitor, &id, wrong).await?));
    }
    app.revoke_client(&visitor.caller, &id).await?;
    Ok(Redirect::to("/api-clients").into_response())
}
