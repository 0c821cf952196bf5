//! Who may come through which door: one row for every route and method. What has no row opens for nobody.
//!
//! `gate` stands before all routes and hands the row on; those who read a caller or a visitor from a request (`request`,
//! `console::visitor`) refuse whoever the row does not name, and write it down. The rules in `app` ask for the role again.
//! `docs/reference/roles.md` is made of this table, and a test walks through it as everyone there is.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::console;
use super::problem;
use crate::app::App;
use crate::auth::{Caller, Role};
use crate::fault::Refused;

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Everybody.
    Nothing,
    /// Whoever is signed in to the console, wherever they call from: it is about their own login.
    Login,
    /// That role of the account, or a higher one.
    Role(Role),
    /// An agent, with its token of the gateway.
    Agent,
}

/// A route and a method of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Door {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// As the router has it; the API under its longer base path.
    pub path: &'static str,
    /// `nothing`, `login`, `viewer`, `editor`, `owner`, `agent`.
    #[serde(serialize_with = "word")]
    pub(crate) needs: Needs,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn word<S: serde::Serializer>(needs: &Needs, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match needs {
        Needs::Nothing => "nothing",
        Needs::Login => "login",
        Needs::Role(role) => role.as_str(),
        Needs::Agent => "agent",
    })
}

const fn door(method: &'static str, path: &'static str, needs: Needs) -> Door {
    Door { method, path, needs }
}

const NOTHING: Needs = Needs::Nothing;
const LOGIN: Needs = Needs::Login;
const VIEWER: Needs = Needs::Role(Role::Viewer);
const EDITOR: Needs = Needs::Role(Role::Editor);
const OWNER: Needs = Needs::Role(Role::Owner);
const AGENT: Needs = Needs::Agent;

/// Every door.
pub(crate) const DOORS: &[Door] = &[
    // For everybody.
    door("GET", "/livez", NOTHING),
    door("GET", "/readyz", NOTHING),
    door("GET", "/openapi.json", NOTHING),
    door("GET", "/.well-known/oauth-authorization-server", NOTHING),
    door("GET", "/.well-known/jwks.json", NOTHING),
    door("POST", "/oauth/dpc/token", NOTHING),
    door("POST", "/oauth/token", NOTHING),
    // The gateway.
    door("POST", "/agent/v1/session", AGENT),
    door("POST", "/agent/v1/sync", AGENT),
    door("POST", "/agent/v1/goodbye", AGENT),
    // The REST API.
    door("GET", "/dpc/v1/agents", VIEWER),
    door("POST", "/dpc/v1/agents", EDITOR),
    door("GET", "/dpc/v1/agents/{id}", VIEWER),
    door("PATCH", "/dpc/v1/agents/{id}", EDITOR),
    door("DELETE", "/dpc/v1/agents/{id}", EDITOR),
    door("GET", "/dpc/v1/agents/{id}/install", VIEWER),
    door("GET", "/dpc/v1/agents/{id}/metrics", VIEWER),
    door("GET", "/dpc/v1/agents/{id}/credentials", EDITOR),
    door("POST", "/dpc/v1/agents/{id}/credentials/rotate", EDITOR),
    door("GET", "/dpc/v1/agents/{id}/credentials/history", VIEWER),
    door("DELETE", "/dpc/v1/agents/{id}/credentials/{credential}", EDITOR),
    door("GET", "/dpc/v1/agents/{id}/keys", VIEWER),
    door("POST", "/dpc/v1/agents/{id}/keys", EDITOR),
    door("DELETE", "/dpc/v1/agents/{id}/keys/{key}", EDITOR),
    door("GET", "/dpc/v1/agents/{id}/trust-rules", VIEWER),
    door("POST", "/dpc/v1/agents/{id}/trust-rules", EDITOR),
    door("DELETE", "/dpc/v1/agents/{id}/trust-rules/{rule}", EDITOR),
    door("GET", "/dpc/v1/agents/{id}/allowed-addresses", VIEWER),
    door("PUT", "/dpc/v1/agents/{id}/allowed-addresses", EDITOR),
    door("POST", "/dpc/v1/agents/{id}/checks", EDITOR),
    door("POST", "/dpc/v1/agents/{id}/discoveries", EDITOR),
    door("GET", "/dpc/v1/commands/{id}", VIEWER),
    door("GET", "/dpc/v1/projects", VIEWER),
    door("POST", "/dpc/v1/projects", OWNER),
    door("PATCH", "/dpc/v1/projects/{id}", OWNER),
    door("GET", "/dpc/v1/projects/{project}/streaming-pipelines", VIEWER),
    door("POST", "/dpc/v1/projects/{project}/streaming-pipelines", EDITOR),
    door("GET", "/dpc/v1/projects/{project}/streaming-pipelines/{id}", VIEWER),
    door("PUT", "/dpc/v1/projects/{project}/streaming-pipelines/{id}", EDITOR),
    door("DELETE", "/dpc/v1/projects/{project}/streaming-pipelines/{id}", EDITOR),
    door("GET", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/status", VIEWER),
    door("POST", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/commands", EDITOR),
    door("GET", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/events", VIEWER),
    door("GET", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/revisions", VIEWER),
    door("POST", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/rollback", EDITOR),
    door("GET", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/metrics", VIEWER),
    door("GET", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/set-times", VIEWER),
    door("PUT", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/set-times", EDITOR),
    door("DELETE", "/dpc/v1/projects/{project}/streaming-pipelines/{id}/set-times", EDITOR),
    door("GET", "/dpc/v1/webhooks", OWNER),
    door("POST", "/dpc/v1/webhooks", OWNER),
    door("GET", "/dpc/v1/webhooks/{id}", OWNER),
    door("PUT", "/dpc/v1/webhooks/{id}", OWNER),
    door("DELETE", "/dpc/v1/webhooks/{id}", OWNER),
    door("POST", "/dpc/v1/webhooks/{id}/test", OWNER),
    door("GET", "/dpc/v1/email-recipients", OWNER),
    door("POST", "/dpc/v1/email-recipients", OWNER),
    door("GET", "/dpc/v1/email-recipients/{id}", OWNER),
    door("PUT", "/dpc/v1/email-recipients/{id}", OWNER),
    door("DELETE", "/dpc/v1/email-recipients/{id}", OWNER),
    door("POST", "/dpc/v1/email-recipients/{id}/test", OWNER),
    door("GET", "/dpc/v1/audit-log", OWNER),
    door("GET", "/dpc/v1/roles", VIEWER),
    door("GET", "/dpc/v1/users", OWNER),
    door("POST", "/dpc/v1/users", OWNER),
    door("GET", "/dpc/v1/users/{id}", OWNER),
    door("PATCH", "/dpc/v1/users/{id}", OWNER),
    door("DELETE", "/dpc/v1/users/{id}", OWNER),
    door("GET", "/dpc/v1/api-clients", OWNER),
    door("POST", "/dpc/v1/api-clients", OWNER),
    door("GET", "/dpc/v1/api-clients/{id}", OWNER),
    door("DELETE", "/dpc/v1/api-clients/{id}", OWNER),
    door("GET", "/dpc/v1/settings", OWNER),
    door("PATCH", "/dpc/v1/settings", OWNER),
    // The console.
    door("GET", "/assets/{hash}/{name}", NOTHING),
    door("GET", "/docs", NOTHING),
    door("GET", "/docs/{*place}", NOTHING),
    door("GET", "/sign-in", NOTHING),
    door("POST", "/sign-in", NOTHING),
    door("GET", "/register", NOTHING),
    door("POST", "/register", NOTHING),
    door("GET", "/join/{token}", NOTHING),
    door("POST", "/join/{token}", NOTHING),
    door("GET", "/", LOGIN),
    door("POST", "/sign-out", LOGIN),
    door("POST", "/look", LOGIN),
    door("POST", "/switch", LOGIN),
    door("GET", "/me", LOGIN),
    door("POST", "/me/password", LOGIN),
    door("POST", "/me/sessions", LOGIN),
    door("GET", "/agents", VIEWER),
    door("POST", "/agents", EDITOR),
    door("GET", "/agents/new", EDITOR),
    door("GET", "/agents/{id}", VIEWER),
    door("GET", "/agents/{id}/figures", VIEWER),
    door("GET", "/agents/{id}/install", VIEWER),
    door("GET", "/agents/{id}/allowlist", VIEWER),
    door("GET", "/agents/{id}/instances", VIEWER),
    door("GET", "/agents/{id}/commands", VIEWER),
    door("GET", "/agents/{id}/conditions", VIEWER),
    door("GET", "/agents/{id}/events", VIEWER),
    door("GET", "/agents/{id}/edit", EDITOR),
    door("POST", "/agents/{id}/edit", EDITOR),
    door("GET", "/agents/{id}/credentials", EDITOR),
    door("POST", "/agents/{id}/credentials", EDITOR),
    door("GET", "/agents/{id}/credentials/rotate", EDITOR),
    door("POST", "/agents/{id}/credentials/rotate", EDITOR),
    door("GET", "/agents/{id}/credentials/{credential}/revoke", EDITOR),
    door("POST", "/agents/{id}/credentials/{credential}/revoke", EDITOR),
    door("GET", "/agents/{id}/trust", EDITOR),
    door("GET", "/agents/{id}/trust/keys", EDITOR),
    door("POST", "/agents/{id}/trust/keys", EDITOR),
    door("GET", "/agents/{id}/trust/rules", EDITOR),
    door("POST", "/agents/{id}/trust/rules", EDITOR),
    door("GET", "/agents/{id}/trust/{one}/remove", EDITOR),
    door("POST", "/agents/{id}/trust/{one}/remove", EDITOR),
    door("GET", "/agents/{id}/addresses", EDITOR),
    door("POST", "/agents/{id}/addresses", EDITOR),
    door("GET", "/agents/{id}/remove", EDITOR),
    door("POST", "/agents/{id}/remove", EDITOR),
    door("GET", "/pipelines", VIEWER),
    door("GET", "/pipelines/new", EDITOR),
    door("POST", "/pipelines/new", EDITOR),
    door("GET", "/pipelines/new/{draft}/{step}", EDITOR),
    door("POST", "/pipelines/new/{draft}/{step}", EDITOR),
    door("GET", "/pipelines/{id}", VIEWER),
    door("GET", "/pipelines/{id}/tables", VIEWER),
    door("GET", "/pipelines/{id}/events", VIEWER),
    door("GET", "/pipelines/{id}/configuration", VIEWER),
    door("GET", "/pipelines/{id}/revisions", VIEWER),
    door("GET", "/pipelines/{id}/commands", VIEWER),
    door("GET", "/pipelines/{id}/activity", VIEWER),
    door("GET", "/pipelines/{id}/times", VIEWER),
    door("POST", "/pipelines/{id}/times", EDITOR),
    door("GET", "/pipelines/{id}/restart", EDITOR),
    door("POST", "/pipelines/{id}/restart", EDITOR),
    door("POST", "/pipelines/{id}/rollback", EDITOR),
    door("POST", "/pipelines/{id}/edit", EDITOR),
    door("POST", "/pipelines/{id}/start", EDITOR),
    door("POST", "/pipelines/{id}/stop", EDITOR),
    door("GET", "/pipelines/{id}/delete", EDITOR),
    door("POST", "/pipelines/{id}/delete", EDITOR),
    door("GET", "/activity", VIEWER),
    door("GET", "/people", OWNER),
    door("POST", "/people", OWNER),
    door("POST", "/people/withdraw", OWNER),
    door("GET", "/people/{id}", OWNER),
    door("POST", "/people/{id}/role", OWNER),
    door("GET", "/people/{id}/disable", OWNER),
    door("POST", "/people/{id}/disable", OWNER),
    door("POST", "/people/{id}/enable", OWNER),
    door("POST", "/people/{id}/sessions", OWNER),
    door("GET", "/people/{id}/remove", OWNER),
    door("POST", "/people/{id}/remove", OWNER),
    door("GET", "/api-clients", OWNER),
    door("POST", "/api-clients", OWNER),
    door("GET", "/api-clients/{id}/revoke", OWNER),
    door("POST", "/api-clients/{id}/revoke", OWNER),
    door("GET", "/settings/notifications", OWNER),
    door("POST", "/settings/notifications", OWNER),
    door("POST", "/settings/notifications/{id}/test", OWNER),
    door("POST", "/settings/notifications/{id}/remove", OWNER),
    door("GET", "/settings", OWNER),
    door("POST", "/settings/name", OWNER),
    door("POST", "/settings/addresses", OWNER),
    door("POST", "/settings/projects", OWNER),
    door("POST", "/settings/projects/{id}", OWNER),
];

/// The API stands under two base paths; the table has it under the longer one.
fn in_table(matched: &str) -> String {
    matched.strip_prefix("/v1/").map_or_else(|| matched.to_owned(), |rest| format!("/dpc/v1/{rest}"))
}

/// Stands before every route.
pub(crate) async fn gate(State(_app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>().map(|matched| in_table(matched.as_str())) else {
        return next.run(request).await;
    };
    let method = if *request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    let rows: Vec<&'static Door> = DOORS.iter().filter(|door| door.path == path).collect();
    if rows.is_empty() {
        return Refused::failed(format!("the route {path} has no row in web/access.rs")).into_response();
    }
    let Some(door) = rows.iter().find(|door| door.method == method) else {
        let allowed: Vec<&str> = rows
            .iter()
            .flat_map(|door| if door.method == "GET" { vec!["GET", "HEAD"] } else { vec![door.method] })
            .collect();
        let mut response = problem::no_such_method().await.into_response();
        console::protect(response.headers_mut());
        if let Ok(value) = HeaderValue::from_str(&allowed.join(",")) {
            response.headers_mut().insert(header::ALLOW, value);
        }
        return response;
    };
    request.extensions_mut().insert::<&'static Door>(door);
    next.run(request).await
}

/// Refuses a caller whom the row of this route does not name, and writes it down.
pub(crate) async fn admit(app: &App, door: Option<&&'static Door>, caller: &Caller) -> Result<(), Refused> {
    let door = door.ok_or_else(|| Refused::failed("a route without a row in web/access.rs asks for a caller"))?;
    let needed = match door.needs {
        Needs::Nothing | Needs::Login => return Ok(()),
        Needs::Role(role) => role,
        Needs::Agent => return Err(Refused::failed("a route of agents asks for another caller")),
    };
    if caller.role >= needed {
        return Ok(());
    }
    app.audit_refusal(caller, "access.refused", &format!("{} {}", door.method, door.path)).await?;
    crate::app::require(caller, needed)
}
