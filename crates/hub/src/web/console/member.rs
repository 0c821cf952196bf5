//! One person of the account: role, sessions, and when they may come no more.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::{Confirmation, confirmed, own_password};
use super::me::SessionRow;
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::people::{badge, roles};
use super::show::{Badge, Choice, Field, Summary, When, filters};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::members::Change;
use crate::app::people::role_of;
use crate::fault::Refused;

#[derive(Template)]
#[template(path = "member.html")]
struct MemberPage {
    shell: Shell,
    id: String,
    email: String,
    word: String,
    badge: Badge,
    since: When,
    is_disabled: bool,
    is_me: bool,
    sessions: Vec<SessionRow>,
    summary: Summary,
    role: Choice,
    password: Field,
}

async fn member_page(
    app: &App,
    visitor: &Visitor,
    id: &str,
    (fields, wrong): (&Fields, Wrong),
) -> Result<MemberPage, Mishap> {
    let now = app.now();
    let (member, sessions) = app.member(&visitor.caller, id).await?;
    let chosen = if fields.get("role").is_empty() { &member.role } else { fields.get("role") };
    Ok(MemberPage {
        shell: visitor.shell(&member.email, "people"),
        id: member.person_id.clone(),
        badge: badge(&member),
        since: When::new(member.created_at, now),
        is_disabled: member.disabled_at.is_some(),
        is_me: member.person_id == visitor.session.person_id,
        sessions: sessions.into_iter().map(|seen| SessionRow::new(seen, now, &visitor.session.id_hash)).collect(),
        role: Choice::of("role", "Role", roles(chosen), &wrong),
        password: own_password(&wrong),
        summary: Summary(wrong),
        word: member.role,
        email: member.email,
    })
}

pub(crate) async fn details(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    Ok(page(&member_page(&app, &visitor, &id, (&Fields::default(), Wrong::default())).await?))
}

fn back(id: &str) -> Response {
    Redirect::to(&format!("/people/{id}")).into_response()
}

pub(crate) async fn change_role(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    app.member(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        let again = member_page(&app, &visitor, &id, (&fields, wrong)).await?;
        return Ok(with_status(StatusCode::UNAUTHORIZED, &again));
    }
    let done = match role_of(fields.get("role")) {
        Ok(role) => {
            let change = Change { role: Some(role), disabled: None };
            app.change_member(&visitor.caller, &id, change).await
        }
        Err(refused) => Err(refused),
    };
    match done {
        // Whoever has given their own ownership away sees the page no more.
        Ok(()) if id == visitor.session.person_id => Ok(Redirect::to("/agents").into_response()),
        Ok(()) => Ok(back(&id)),
        Err(refused) => {
            let again = member_page(&app, &visitor, &id, (&fields, Wrong::from(refused)?)).await?;
            Ok(with_status(StatusCode::BAD_REQUEST, &again))
        }
    }
}

pub(crate) async fn enable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, _): Sent,
) -> Result<Response, Mishap> {
    app.change_member(&visitor.caller, &id, Change { role: None, disabled: Some(false) }).await?;
    Ok(back(&id))
}

pub(crate) async fn end_sessions(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, _): Sent,
) -> Result<Response, Mishap> {
    app.end_sessions(&visitor.caller, &id).await?;
    Ok(back(&id))
}

/// What ends someone's time in the account.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Disable,
    Remove,
}

async fn end_page(app: &App, visitor: &Visitor, (id, end): (&str, End), wrong: Wrong) -> Result<Confirmation, Mishap> {
    let (member, sessions) = app.member(&visitor.caller, id).await?;
    let ended = match sessions.len() {
        0 => "they are not signed in to this account".to_owned(),
        1 => "their session ends at once".to_owned(),
        many => format!("their {many} sessions end at once"),
    };
    let stays = "agents, pipelines and API clients that they made stay, and Activity goes on naming them; their open invitations do not";
    let (title, lead, button, more) = match end {
        End::Disable => (
            format!("Disable {}", member.email),
            "They can be enabled again at any time.",
            "Disable",
            "they cannot sign in to this account until someone enables them",
        ),
        End::Remove => (
            format!("Remove {}", member.email),
            "To come back they need a new invitation.",
            "Remove person",
            "they are no member any more, and their drafts are gone; without another account on this hub their password \
             is gone, too",
        ),
    };
    Ok(Confirmation {
        shell: visitor.shell(&title, "people"),
        crumbs: vec![("/people".into(), "People".into()), (format!("/people/{id}"), member.email)],
        title,
        lead,
        consequences: vec![ended, more.into(), stays.into()],
        password: own_password(&wrong),
        summary: Summary(wrong),
        button,
    })
}

async fn end(app: &App, visitor: &Visitor, fields: &Fields, (id, end): (&str, End)) -> Result<Response, Mishap> {
    app.member(&visitor.caller, id).await?;
    if let Err(wrong) = confirmed(app, visitor, fields).await? {
        return Ok(with_status(StatusCode::UNAUTHORIZED, &end_page(app, visitor, (id, end), wrong).await?));
    }
    let done: Result<(), Refused> = match end {
        End::Disable => app.change_member(&visitor.caller, id, Change { role: None, disabled: Some(true) }).await,
        End::Remove => app.remove_member(&visitor.caller, id).await,
    };
    match done {
        Ok(()) if end == End::Disable => Ok(back(id)),
        Ok(()) => Ok(Redirect::to("/people").into_response()),
        Err(refused) => {
            let again = end_page(app, visitor, (id, end), Wrong::from(refused)?).await?;
            Ok(with_status(StatusCode::CONFLICT, &again))
        }
    }
}

pub(crate) async fn disabling(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    Ok(page(&end_page(&app, &visitor, (&id, End::Disable), Wrong::default()).await?))
}

pub(crate) async fn disable(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    end(&app, &visitor, &fields, (&id, End::Disable)).await
}

pub(crate) async fn removal(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    Ok(page(&end_page(&app, &visitor, (&id, End::Remove), Wrong::default()).await?))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    end(&app, &visitor, &fields, (&id, End::Remove)).await
}
