//! The account's settings: its name, its projects, and where it may be reached from.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::addresses::{ranges, ranges_field};
use super::confirm::{confirmed, own_password};
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Field, Summary};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::accounts::ALLOWED;
use crate::db::accounts::Named;
use crate::fault::Refused;

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    shell: Shell,
    account_id: String,
    address: String,
    projects: Vec<Named>,
    summary: Summary,
    account: Field,
    project: Field,
    ranges: Field,
    password: Field,
}

/// The page again, with what was typed and what is wrong with it.
async fn settings_page(app: &App, visitor: &Visitor, fields: &Fields, wrong: Wrong) -> Result<SettingsPage, Mishap> {
    let settings = app.account_settings(&visitor.caller).await?;
    let typed = |name: &str, now: String| if fields.get(name).is_empty() { now } else { fields.get(name).to_owned() };
    Ok(SettingsPage {
        shell: visitor.shell("Settings", "settings"),
        account_id: visitor.caller.account_id.clone(),
        address: visitor.browser.address.clone(),
        projects: app.all_projects(&visitor.caller).await?,
        account: Field::text("accountName", "Name of the account", typed("accountName", settings.name), &wrong)
            .most(100),
        project: Field::text("name", "Name of a new project", fields.get("name"), &wrong)
            .help("Pipelines live in projects; names of pipelines are unique in theirs.")
            .most(100),
        ranges: ranges_field(typed(ALLOWED, settings.allowed.texts().join("\n")), &wrong),
        password: own_password(&wrong),
        summary: Summary(wrong),
    })
}

pub(crate) async fn show(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, Mishap> {
    Ok(page(&settings_page(&app, &visitor, &Fields::default(), Wrong::default()).await?))
}

/// Back to the page, or the page with what was wrong.
async fn answered(
    app: &App,
    visitor: &Visitor,
    fields: &Fields,
    done: Result<(), Refused>,
) -> Result<Response, Mishap> {
    match done {
        Ok(()) => Ok(Redirect::to("/settings").into_response()),
        Err(refused) => {
            let again = settings_page(app, visitor, fields, Wrong::from(refused)?).await?;
            Ok(with_status(StatusCode::BAD_REQUEST, &again))
        }
    }
}

pub(crate) async fn rename(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    let done = app.rename_account(&visitor.caller, fields.get("accountName").trim()).await;
    answered(&app, &visitor, &fields, done).await
}

pub(crate) async fn allow(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        let again = settings_page(&app, &visitor, &fields, wrong).await?;
        return Ok(with_status(StatusCode::UNAUTHORIZED, &again));
    }
    let done = match ranges(&fields) {
        Ok(allowed) => app.allow_addresses(&visitor.caller, &allowed).await,
        Err(refused) => Err(refused),
    };
    answered(&app, &visitor, &fields, done).await
}

pub(crate) async fn create_project(
    State(app): State<Arc<App>>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let done = app.create_project(&visitor.caller, fields.get("name").trim()).await.map(drop);
    answered(&app, &visitor, &fields, done).await
}

pub(crate) async fn rename_project(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let done = app.rename_project(&visitor.caller, &id, fields.get("title").trim()).await;
    answered(&app, &visitor, &fields, done).await
}
