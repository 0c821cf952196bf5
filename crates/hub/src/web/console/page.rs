//! Pages as responses, and what is shown when there is none.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::assets::{self, Linked};
use super::visitor::Look;
use crate::fault::{Refused, Violation};
use crate::web::problem::UNAVAILABLE;
use crate::web::trace;

/// What surrounds every page of someone who is signed in.
pub(crate) struct Shell {
    pub(crate) title: String,
    /// Which link of the rail is the current one.
    pub(crate) section: &'static str,
    pub(crate) account: String,
    /// Accounts that the person may be in: id, name, and whether it is this one.
    pub(crate) accounts: Vec<(String, String, bool)>,
    pub(crate) email: String,
    pub(crate) role: &'static str,
    pub(crate) is_editor: bool,
    pub(crate) is_owner: bool,
    pub(crate) token: String,
    pub(crate) look: Look,
}

impl Shell {
    /// The files that a page loads.
    #[expect(clippy::unused_self, reason = "templates ask the shell")]
    pub(crate) fn assets(&self) -> &'static Linked {
        assets::linked()
    }

    /// Whether this is the section's link.
    pub(crate) fn is(&self, section: &str) -> bool {
        self.section == section
    }
}

/// A page, rendered.
pub(crate) fn page(template: &impl Template) -> Response {
    with_status(StatusCode::OK, template)
}

/// A page that says that something is wrong with what was sent.
pub(crate) fn with_status(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(failed) => Mishap::from(Refused::Failed(Box::new(failed))).into_response(),
    }
}

/// In place of a page.
#[derive(Debug)]
pub(crate) struct Mishap(Refused);

impl From<Refused> for Mishap {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

#[derive(Template)]
#[template(path = "mishap.html")]
struct MishapPage {
    assets: &'static Linked,
    title: &'static str,
    why: String,
    cure: &'static str,
    trace: Option<String>,
}

impl IntoResponse for Mishap {
    fn into_response(self) -> Response {
        let why = sentence(&self.0.to_string());
        let (status, title, cure) = match &self.0 {
            Refused::NotFound(_) => (
                StatusCode::NOT_FOUND,
                "There is nothing here",
                "It may have been removed, or the address is not complete. Look for it in the list.",
            ),
            Refused::Forbidden(_) => (StatusCode::FORBIDDEN, "This was not done", "Ask an owner of the account."),
            Refused::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "Sign in first", "Sign in, then try again."),
            Refused::Conflict { .. } | Refused::Stale => {
                (StatusCode::CONFLICT, "This was not done", "Go back, look at how things stand now, and decide again.")
            }
            Refused::Gone { .. } => (StatusCode::GONE, "This is gone", "Look at the list for what is there."),
            Refused::TooMany { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "Too many attempts", "Wait a minute, then try again.")
            }
            Refused::Invalid(_) => (StatusCode::BAD_REQUEST, "This was not done", "Go back and correct the form."),
            Refused::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The hub cannot do this now",
                "Wait a little, then try again. If it stays like this, look for the number below in the hub's log.",
            ),
            Refused::Failed(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The hub could not do this",
                "Try again. If it stays like this, look for the number below in the hub's log.",
            ),
        };
        let failed =
            if let Refused::Failed(cause) | Refused::Unavailable(cause) = &self.0 { Some(cause) } else { None };
        let trace = failed.map(|cause| trace::failed(cause));
        let page = MishapPage { assets: assets::linked(), title, why, cure, trace };
        let mut response = match page.render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => (status, title).into_response(),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(UNAVAILABLE));
        }
        response
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// What is wrong with a form, at its fields and in a summary.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wrong(Vec<Violation>);

impl Wrong {
    /// What was wrong, where it is for the form to say; anything else goes on as it is. A name that is taken belongs to the
    /// field `name`.
    pub(crate) fn from(refused: Refused) -> Result<Self, Mishap> {
        match refused {
            Refused::Invalid(violations) => Ok(Self(violations)),
            Refused::Conflict { code: "name_taken", message } => Ok(Self::at("name", message)),
            Refused::Conflict { code: "is_member", message } => Ok(Self::at("email", message)),
            Refused::Conflict { code: "would_lock_out", message } => Ok(Self::at("allowedAddresses", message)),
            Refused::Conflict { code: "last_owner", message } => Ok(Self::at("", message)),
            Refused::Conflict { code: "agent_taken", message } => Ok(Self::at("agentId", message)),
            other @ (Refused::Unauthenticated(_)
            | Refused::Forbidden(_)
            | Refused::NotFound(_)
            | Refused::Stale
            | Refused::Gone { .. }
            | Refused::TooMany { .. }
            | Refused::Conflict { .. }
            | Refused::Unavailable(_)
            | Refused::Failed(_)) => Err(Mishap(other)),
        }
    }

    /// One field.
    pub(crate) fn at(field: &str, message: impl Into<String>) -> Self {
        Self(vec![Violation { field: field.into(), message: message.into() }])
    }

    /// Adds a field.
    pub(crate) fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Violation { field: field.into(), message: message.into() });
    }

    /// Whether anything is.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Each field and what is wrong with it.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|wrong| (wrong.field.as_str(), format!("{} {}", spoken(&wrong.field), wrong.message)))
    }

    /// What is wrong with this field; empty where nothing is.
    pub(crate) fn of(&self, field: &str) -> String {
        self.0.iter().find(|wrong| wrong.field == field).map_or_else(String::new, |wrong| sentence(&wrong.message))
    }
}

/// A field of the API as its label says it.
fn spoken(field: &str) -> String {
    let last = field.rsplit('.').next().unwrap_or(field);
    match last {
        "name" => "The name".into(),
        "description" => "The description".into(),
        "cloudProvider" => "The cloud provider".into(),
        "deployment" => "The deployment".into(),
        "agentId" => "The agent".into(),
        "email" => "The e-mail address".into(),
        "password" => "The password".into(),
        "new" => "The new password".into(),
        "accountName" => "The name of the account".into(),
        "allowedAddresses" => "This list".into(),
        "role" => "The role".into(),
        "account" => "The name of the account".into(),
        "confirmation" => "The confirmation".into(),
        "properties" => "Advanced properties:".into(),
        other => sentence(other).trim_end_matches('.').to_owned(),
    }
}
