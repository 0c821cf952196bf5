//! The people of an account, and who is invited.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Choice, Field, Pick, Summary, When, filters};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    shell: Shell,
    members: Vec<(String, String, When, bool)>,
    invited: Vec<(String, String, When)>,
    summary: Summary,
    email: Field,
    role: Choice,
    /// The one-time link that was just made.
    link: Option<(String, String)>,
}

async fn people_page(
    app: &App,
    visitor: &Visitor,
    fields: &Fields,
    (wrong, link): (Wrong, Option<(String, String)>),
) -> Result<PeoplePage, Mishap> {
    let now = app.now();
    let (members, invited) = app.people(&visitor.caller).await?;
    let chosen = if fields.get("role").is_empty() { "viewer" } else { fields.get("role") };
    let roles = vec![
        Pick::new("viewer", "Viewer: looks", chosen),
        Pick::new("editor", "Editor: also changes agents and pipelines", chosen),
        Pick::new("owner", "Owner: also people and settings", chosen),
    ];
    let me = &visitor.session.person_id;
    Ok(PeoplePage {
        shell: visitor.shell("People", "people"),
        members: members
            .into_iter()
            .map(|member| (member.email, member.role, When::new(member.created_at, now), member.person_id == *me))
            .collect(),
        invited: invited
            .into_iter()
            .map(|link| (link.email.unwrap_or_default(), link.role, When::new(link.created_at, now)))
            .collect(),
        email: Field::text("email", "Email", if link.is_some() { "" } else { fields.get("email") }, &wrong)
            .kind("email", "off"),
        role: Choice::of("role", "Role", roles, &wrong),
        summary: Summary(wrong),
        link,
    })
}

pub(crate) async fn list(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, Mishap> {
    Ok(page(&people_page(&app, &visitor, &Fields::default(), (Wrong::default(), None)).await?))
}

pub(crate) async fn invite(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    let email = fields.get("email");
    match app.invite(&visitor.caller, email, fields.get("role")).await {
        Ok(link) => {
            let link = Some((email.trim().to_owned(), link));
            Ok(page(&people_page(&app, &visitor, &fields, (Wrong::default(), link)).await?))
        }
        Err(refused) => {
            let wrong = Wrong::from(refused)?;
            Ok(with_status(StatusCode::BAD_REQUEST, &people_page(&app, &visitor, &fields, (wrong, None)).await?))
        }
    }
}
