//! One's own login: the password, the sessions, and the way to another account.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Field, Summary, When};
use super::visitor::{Sent, Visitor};
use crate::app::App;
use crate::db::sessions::Seen;

/// A session as it is listed.
pub(super) struct SessionRow {
    pub(super) id: String,
    pub(super) browser: String,
    pub(super) address: String,
    pub(super) account: String,
    pub(super) began: When,
    pub(super) seen: When,
    pub(super) is_this: bool,
}

impl SessionRow {
    pub(super) fn new(seen: Seen, now: millrace_model::Timestamp, own: &str) -> Self {
        Self {
            browser: browser(&seen.browser),
            is_this: seen.id_hash == own,
            id: seen.id,
            address: seen.address,
            account: seen.account_name,
            began: When::new(seen.created_at, now),
            seen: When::new(seen.last_seen_at, now),
        }
    }
}

/// `Firefox on Linux`, where its name says so.
fn browser(name: &str) -> String {
    // The order matters: each of these also claims to be the ones after it.
    let browsers = [("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")];
    let systems = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let known =
        |list: &[(&str, &'static str)]| list.iter().find(|(mark, _)| name.contains(mark)).map(|(_, word)| *word);
    match (known(&browsers), known(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) if name.is_empty() => "unknown".to_owned(),
        (None, _) => name.chars().take(40).collect(),
    }
}

#[derive(Template)]
#[template(path = "me.html")]
struct MePage {
    shell: Shell,
    sessions: Vec<SessionRow>,
    has_changed: bool,
    can_register: bool,
    summary: Summary,
    password: Field,
    new: Field,
}

async fn me_page(app: &App, visitor: &Visitor, wrong: Wrong, has_changed: bool) -> Result<MePage, Mishap> {
    let now = app.now();
    let own = &visitor.session.id_hash;
    let sessions = app.own_sessions(&visitor.session).await?;
    Ok(MePage {
        shell: visitor.shell("Your login", "me"),
        sessions: sessions.into_iter().map(|seen| SessionRow::new(seen, now, own)).collect(),
        has_changed,
        can_register: app.settings.registration == crate::settings::Registration::Open,
        password: Field::text("password", "Current password", "", &wrong)
            .kind("password", "current-password")
            .most(1024),
        new: Field::text("new", "New password", "", &wrong)
            .kind("password", "new-password")
            .help("At least 12 characters. A few words that do not belong together make a good one.")
            .most(1024),
        summary: Summary(wrong),
    })
}

pub(crate) async fn show(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, Mishap> {
    Ok(page(&me_page(&app, &visitor, Wrong::default(), false).await?))
}

pub(crate) async fn change_password(
    State(app): State<Arc<App>>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let given = (fields.get("password"), fields.get("new"));
    match app.change_password(&visitor.session, given, &visitor.browser).await {
        Ok(()) => Ok(page(&me_page(&app, &visitor, Wrong::default(), true).await?)),
        Err(refused) => {
            let again = me_page(&app, &visitor, Wrong::from(refused)?, false).await?;
            Ok(with_status(StatusCode::BAD_REQUEST, &again))
        }
    }
}

/// Ends one of the visitor's sessions, or with `others` all but this one.
pub(crate) async fn end_sessions(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    match fields.get("session") {
        "others" => app.end_other_sessions(&visitor.session, &visitor.browser).await?,
        id => app.end_own_session(&visitor.session, id, &visitor.browser).await?,
    }
    Ok(Redirect::to("/me").into_response())
}

pub(crate) async fn switch(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    app.switch(&visitor.session, fields.get("account"), &visitor.browser).await?;
    // What was open belongs to the account before.
    Ok(Redirect::to("/agents").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_called_by_its_name() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
        assert_eq!(browser(chrome), "Chrome on Linux");
        assert_eq!(browser(&format!("{chrome} Edg/140.0")), "Edge on Linux");
        assert_eq!((browser(""), browser("curl/8.1")), ("unknown".into(), "curl/8.1".into()));
    }
}
