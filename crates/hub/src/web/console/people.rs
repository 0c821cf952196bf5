//! The people of an account, and who is invited.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Badge, Choice, Field, Pick, Shape, Summary, When, filters};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::db::people::Member;
use crate::settings::Registration;

struct Row {
    id: String,
    email: String,
    role: String,
    badge: Badge,
    since: When,
    seen: Option<When>,
    is_me: bool,
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    shell: Shell,
    members: Vec<Row>,
    invited: Vec<(String, String, When)>,
    is_closed: bool,
    summary: Summary,
    email: Field,
    role: Choice,
    /// The one-time link that was just made.
    link: Option<(String, String)>,
}

/// The roles to choose from.
pub(super) fn roles(chosen: &str) -> Vec<Pick> {
    let chosen = if chosen.is_empty() { "viewer" } else { chosen };
    vec![
        Pick::new("viewer", "Viewer: looks", chosen),
        Pick::new("editor", "Editor: also changes agents and pipelines", chosen),
        Pick::new("owner", "Owner: also people, API clients and settings", chosen),
    ]
}

/// Whether someone may come.
pub(super) fn badge(member: &Member) -> Badge {
    match member.disabled_at {
        None => Badge::new(Shape::Dot, "good", "Active"),
        Some(_) => Badge::new(Shape::Square, "quiet", "Disabled"),
    }
}

async fn people_page(
    app: &App,
    visitor: &Visitor,
    fields: &Fields,
    (wrong, link): (Wrong, Option<(String, String)>),
) -> Result<PeoplePage, Mishap> {
    let now = app.now();
    let (members, invited) = app.people(&visitor.caller).await?;
    let row = |member: Member| Row {
        badge: badge(&member),
        is_me: member.person_id == visitor.session.person_id,
        id: member.person_id,
        email: member.email,
        role: member.role,
        since: When::new(member.created_at, now),
        seen: member.last_seen_at.map(|at| When::new(at, now)),
    };
    Ok(PeoplePage {
        shell: visitor.shell("People", "people"),
        members: members.into_iter().map(row).collect(),
        invited: invited
            .into_iter()
            .map(|link| (link.email.unwrap_or_default(), link.role, When::new(link.created_at, now)))
            .collect(),
        is_closed: app.settings.registration == Registration::Closed,
        email: Field::text("email", "Email", if link.is_some() { "" } else { fields.get("email") }, &wrong)
            .kind("email", "off"),
        role: Choice::of("role", "Role", roles(fields.get("role")), &wrong),
        summary: Summary(wrong),
        link,
    })
}

pub(crate) async fn list(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, Mishap> {
    Ok(page(&people_page(&app, &visitor, &Fields::default(), (Wrong::default(), None)).await?))
}

pub(crate) async fn invite(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    let email = fields.get("email").trim();
    match app.invite(&visitor.caller, email, fields.get("role")).await {
        Ok(link) => {
            let link = Some((email.to_owned(), link));
            Ok(page(&people_page(&app, &visitor, &fields, (Wrong::default(), link)).await?))
        }
        Err(refused) => {
            let wrong = Wrong::from(refused)?;
            Ok(with_status(StatusCode::BAD_REQUEST, &people_page(&app, &visitor, &fields, (wrong, None)).await?))
        }
    }
}

/// Takes an invitation back.
pub(crate) async fn withdraw(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    app.withdraw(&visitor.caller, fields.get("email")).await?;
    Ok(Redirect::to("/people").into_response())
}
