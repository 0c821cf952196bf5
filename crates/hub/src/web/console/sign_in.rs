//! Coming in and going out: sign in, sign out, one-time links; and how the pages look, which a cookie remembers.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::assets::{self, Linked};
use super::page::{Mishap, Wrong, page as rendered, with_status};
use super::show::{Field, Summary};
use super::visitor::{Fields, Filled, Guest, Sent, Visitor};
use crate::app::App;
use crate::app::joining::Joining;
use crate::auth::session::Ticket;
use crate::fault::Refused;
use crate::settings::Registration;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    assets: &'static Linked,
    theme: &'static str,
    problem: String,
    next: String,
    can_register: bool,
    email: Field,
    password: Field,
}

impl SignInPage {
    fn new(app: &App, guest: &Guest, (next, email, problem): (&str, &str, String)) -> Self {
        let none = Wrong::default();
        Self {
            assets: assets::linked(),
            theme: guest.look.theme,
            problem,
            next: next.to_owned(),
            can_register: app.settings.registration == Registration::Open,
            email: Field::text("email", "Email", email, &none).kind("email", "username"),
            password: Field::text("password", "Password", "", &none).kind("password", "current-password").most(1024),
        }
    }
}

/// Where everyone begins.
pub(crate) async fn home(_: Visitor) -> Redirect {
    Redirect::to("/agents")
}

pub(crate) async fn page(State(app): State<Arc<App>>, guest: Guest, query: Fields) -> Response {
    rendered(&SignInPage::new(&app, &guest, (inside(query.get("next")), "", String::new())))
}

pub(crate) async fn sign_in(State(app): State<Arc<App>>, Filled(guest, fields): Filled) -> Result<Response, Mishap> {
    let (email, next) = (fields.get("email"), inside(fields.get("next")));
    let again = |status, problem: String| with_status(status, &SignInPage::new(&app, &guest, (next, email, problem)));
    match app.sign_in(email, fields.get("password"), &guest.browser).await {
        Ok(Some(ticket)) => Ok(enter(&app, &ticket, next)),
        Ok(None) => Ok(again(
            StatusCode::UNAUTHORIZED,
            "Email and password do not belong together. Check both, and look at the caps lock key.".into(),
        )),
        Err(Refused::TooMany { retry_after }) => {
            let problem = format!("Too many attempts. Wait {retry_after} s, then try again.");
            let mut response = again(StatusCode::TOO_MANY_REQUESTS, problem);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
            Ok(response)
        }
        Err(refused) => Err(refused.into()),
    }
}

/// A path of ours; anything else leads to the beginning.
///
/// Browsers drop tabs and line breaks before they read an address, and take `\` for `/`: `/<tab>/elsewhere` is another site.
/// What is no printable ASCII has no place in an address, nor in a header.
fn inside(next: &str) -> &str {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let is_plain = next.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let ours = path.starts_with('/') && !path.contains("//") && !next.contains('\\') && is_plain;
    if ours { next } else { "/agents" }
}

fn is_secure(app: &App) -> bool {
    app.settings.public_url.starts_with("https://")
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

pub(super) fn enter(app: &App, ticket: &Ticket, next: &str) -> Response {
    with_cookie(Redirect::to(next).into_response(), &ticket.set(is_secure(app)))
}

pub(crate) async fn sign_out(State(app): State<Arc<App>>, Sent(visitor, _): Sent) -> Result<Response, Mishap> {
    app.sign_out(&visitor.session, &visitor.browser).await?;
    Ok(with_cookie(Redirect::to("/sign-in").into_response(), &Ticket::clear(is_secure(&app))))
}

/// Remembers how the pages shall look.
pub(crate) async fn look(State(app): State<Arc<App>>, Sent(_, fields): Sent) -> Response {
    let secure = if is_secure(&app) { "; Secure" } else { "" };
    let set =
        |name: &str, value: &str| format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000{secure}");
    let mut response = Redirect::to(inside(fields.get("next"))).into_response();
    if let Some(theme) = ["auto", "dark", "light"].into_iter().find(|theme| *theme == fields.get("theme")) {
        response = with_cookie(response, &set("theme", theme));
    }
    if let Some(live) = ["on", "off"].into_iter().find(|live| *live == fields.get("live")) {
        response = with_cookie(response, &set("live", live));
    }
    if let Some(clock) = ["utc", "local"].into_iter().find(|clock| *clock == fields.get("clock")) {
        response = with_cookie(response, &set("clock", clock));
    }
    response
}

#[derive(Template)]
#[template(path = "join.html")]
struct JoinPage {
    assets: &'static Linked,
    theme: &'static str,
    is_first: bool,
    account_name: String,
    role: String,
    summary: Summary,
    account: Option<Field>,
    email: Field,
    password: Field,
}

async fn join_page(app: &App, token: &str, guest: &Guest, fields: &Fields, wrong: Wrong) -> Result<JoinPage, Mishap> {
    let found = app.invitation(token).await?;
    let (link, account) = found.ok_or(Refused::NotFound("this link; it was used, or it is too old. It"))?;
    let fixed = link.email.clone();
    let named = Field::text("account", "Name of the account", fields.get("account"), &wrong)
        .help("Your company or team, as everyone who joins will see it.")
        .most(100);
    let email = Field::text("email", "Email", fixed.as_deref().unwrap_or_else(|| fields.get("email")), &wrong)
        .kind("email", "username");
    Ok(JoinPage {
        assets: assets::linked(),
        theme: guest.look.theme,
        is_first: link.created_by == "hub",
        role: link.role,
        account_name: account.as_ref().map_or_else(String::new, |account| account.name.clone()),
        account: account.is_none().then_some(named),
        email,
        password: Field::text("password", "Password", "", &wrong)
            .kind("password", "new-password")
            .help("At least 12 characters; a few words that do not belong together. With a login on this hub: the one you have.")
            .most(1024),
        summary: Summary(wrong),
    })
}

pub(crate) async fn joining(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    guest: Guest,
) -> Result<Response, Mishap> {
    Ok(rendered(&join_page(&app, &token, &guest, &Fields::default(), Wrong::default()).await?))
}

pub(crate) async fn join(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    Filled(guest, fields): Filled,
) -> Result<Response, Mishap> {
    let joining =
        Joining { account: fields.get("account"), email: fields.get("email"), password: fields.get("password") };
    match app.join(&token, joining, &guest.browser).await {
        Ok(ticket) => Ok(enter(&app, &ticket, "/agents")),
        Err(refused) => {
            let wrong = Wrong::from(refused)?;
            Ok(with_status(StatusCode::BAD_REQUEST, &join_page(&app, &token, &guest, &fields, wrong).await?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_nobody_is_led_to_another_site() {
        for ours in ["/", "/pipelines?sort=lag", "/agents/1#top", "/pipelines?q=a//b", "/people?q=a%09b"] {
            assert_eq!(inside(ours), ours);
        }
        for elsewhere in [
            "https://evil.example.com",
            "//evil.example.com",
            "///evil.example.com",
            "/agents//evil.example.com",
            "/\\evil.example.com",
            "\\/evil.example.com",
            "/\t/evil.example.com",
            "\t//evil.example.com",
            " //evil.example.com",
            "/\r/evil.example.com",
            "/\n/evil.example.com",
            "/agents\0",
            "/agents\u{1b}",
            "/\u{7f}",
            "/\u{85}/evil.example.com",
            "/\u{2028}/evil.example.com",
            "/\u{ff0f}evil.example.com",
            "/\u{e4}",
            "javascript:alert(1)",
            "evil",
            "",
        ] {
            assert_eq!(inside(elsewhere), "/agents", "{elsewhere:?}");
        }
    }
}
