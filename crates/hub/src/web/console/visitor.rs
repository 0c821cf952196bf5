//! Who looks at a page, and what a form of theirs holds.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{Mishap, Shell};
use super::pager::AFTER;
use crate::app::App;
use crate::app::people::Browser;
use crate::app::sign_in::not_from_here;
use crate::auth::session::{Ticket, cookie};
use crate::auth::{Caller, Role};
use crate::db::accounts::Named;
use crate::db::sessions::Session;
use crate::fault::Refused;
use crate::web::access::{self, Door, Needs};
use crate::web::request::address_of;

/// A browser name is kept up to here.
const BROWSER: usize = 200;

/// Anyone who asks for a page, signed in or not.
pub(crate) struct Guest {
    pub(crate) browser: Browser,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) look: Look,
}

/// How the pages look, and which one it is.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) theme: &'static str,
    /// Whether pages renew themselves.
    pub(crate) live: bool,
    /// Whether times are shown by the visitor's own clock.
    pub(crate) is_local: bool,
    /// Path and query.
    pub(crate) path: String,
}

/// Someone who is signed in.
pub(crate) struct Visitor {
    pub(crate) caller: Caller,
    pub(crate) session: Session,
    pub(crate) browser: Browser,
    pub(crate) look: Look,
    pub(crate) token: String,
    /// Those that the person may be in.
    pub(crate) accounts: Vec<Named>,
}

/// A form of someone who is signed in; it came from a page of this session.
pub(crate) struct Sent(pub(crate) Visitor, pub(crate) Fields);

/// A form of anyone.
pub(crate) struct Filled(pub(crate) Guest, pub(crate) Fields);

/// The fields of a form, or of a query, as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first field of that name; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All fields of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn secure(app: &App) -> bool {
    app.settings.public_url.starts_with("https://")
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

impl FromRequestParts<Arc<App>> for Guest {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Self::Rejection> {
        let cookies = text(&parts.headers, header::COOKIE);
        let theme = match cookie(cookies, "theme") {
            Some("dark") => "dark",
            Some("light") => "light",
            _ => "auto",
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let is_local = cookie(cookies, "clock") == Some("local");
        let look = Look { theme, live: cookie(cookies, "live") != Some("off"), is_local, path };
        let name = text(&parts.headers, header::USER_AGENT).chars().take(BROWSER).collect();
        let browser = Browser { address: address_of(parts), name };
        Ok(Self { browser, ticket: Ticket::from_header(cookies, secure(app)), look })
    }
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Ok(guest) = Guest::from_request_parts(parts, app).await;
        // A page that renews itself is no sign of a person.
        let by_itself = parts.headers.contains_key("hx-request") && parts.method.is_safe();
        let session = match &guest.ticket {
            Some(ticket) => app.session(ticket).await.map_err(|refused| Mishap::from(refused).into_response())?,
            None => None,
        };
        let Some((session, ticket)) = session.zip(guest.ticket) else {
            return Err(sign_in_first(parts.method.is_safe().then_some(guest.look.path.as_str()), by_itself));
        };
        if !by_itself {
            app.was_here(&session).await.map_err(|refused| Mishap::from(refused).into_response())?;
        }
        let caller = session.caller(&guest.browser).map_err(|refused| Mishap::from(refused).into_response())?;
        admitted(parts, app, &session, &caller, &guest.browser)
            .await
            .map_err(|refused| Mishap::from(refused).into_response())?;
        let accounts = app.own_accounts(&session).await.map_err(|refused| Mishap::from(refused).into_response())?;
        Ok(Self { accounts, caller, session, browser: guest.browser, look: guest.look, token: ticket.form_token() })
    }
}

/// Refuses whoever calls from where the account does not let in, or has not the role that the page is for.
async fn admitted(
    parts: &Parts,
    app: &App,
    session: &Session,
    caller: &Caller,
    browser: &Browser,
) -> Result<(), Refused> {
    let door = parts.extensions.get::<&'static Door>();
    // About one's own login, and to another account, everyone may come from everywhere.
    if door.is_none_or(|door| door.needs != Needs::Login) && !session.lets_in(browser)? {
        app.audit_refusal(caller, "address.refused", "").await?;
        return Err(not_from_here(&browser.address));
    }
    access::admit(app, door, caller).await
}

fn sign_in_first(next: Option<&str>, by_itself: bool) -> Response {
    if by_itself {
        // htmx loads the whole page anew, which leads to the sign-in page.
        return (StatusCode::UNAUTHORIZED, [("HX-Refresh", "true")]).into_response();
    }
    let query = next.filter(|next| *next != "/").map(|next| {
        let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        format!("?next={next}")
    });
    Redirect::to(&format!("/sign-in{}", query.unwrap_or_default())).into_response()
}

async fn fields_of(request: Request) -> Result<Fields, Response> {
    let bytes = axum::body::Bytes::from_request(request, &())
        .await
        .map_err(|_error| Mishap::from(Refused::invalid("", "the form could not be read")).into_response())?;
    Ok(Fields::parse(&bytes))
}

impl FromRequest<Arc<App>> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, app).await?;
        let ticket = Ticket::from_header(text(&parts.headers, header::COOKIE), secure(app));
        let fields = fields_of(Request::from_parts(parts, body)).await?;
        if !ticket.is_some_and(|ticket| ticket.made(fields.get("token"))) {
            let refused = Refused::Forbidden("this form belongs to a session that is over; open its page again".into());
            return Err(Mishap::from(refused).into_response());
        }
        Ok(Self(visitor, fields))
    }
}

impl FromRequest<Arc<App>> for Filled {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Ok(guest) = Guest::from_request_parts(&mut parts, app).await;
        Ok(Self(guest, fields_of(Request::from_parts(parts, body)).await?))
    }
}

impl Look {
    /// The clock that times are shown by.
    #[expect(clippy::unused_self, reason = "templates ask the look")]
    pub(crate) fn zone(&self) -> String {
        super::show::zone()
    }
}

impl Visitor {
    /// What surrounds every page of theirs.
    pub(crate) fn shell(&self, title: impl Into<String>, section: &'static str) -> Shell {
        Shell {
            title: title.into(),
            section,
            account: self.session.account_name.clone(),
            accounts: self
                .accounts
                .iter()
                .map(|one| (one.id.clone(), one.name.clone(), one.id == self.session.account_id))
                .collect(),
            email: self.session.email.clone(),
            role: self.caller.role.as_str(),
            is_editor: self.caller.role >= Role::Editor,
            is_owner: self.caller.role >= Role::Owner,
            token: self.token.clone(),
            look: self.look.clone(),
        }
    }
}

impl Fields {
    /// The query with one field changed; a change of order or filter begins at the first page, or with the newest.
    pub(crate) fn with(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, kept) in
            self.0.iter().filter(|(key, kept)| key != name && key != "page" && key != AFTER && !kept.is_empty())
        {
            query.append_pair(key, kept);
        }
        if !value.is_empty() {
            query.append_pair(name, value);
        }
        format!("?{}", query.finish())
    }
}

impl FromRequestParts<Arc<App>> for Fields {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}
