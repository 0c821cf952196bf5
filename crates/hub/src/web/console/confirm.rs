//! What has to be meant: pages that say what will happen, ask for the password again, and have one button.

use askama::Template;
use millrace_model::Timestamp;

use super::page::{Mishap, Shell, Wrong};
use super::show::{Field, Summary, ago, filters};
use super::visitor::{Fields, Visitor};
use crate::app::App;

/// A page that asks whether it is meant.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirmation {
    pub(super) shell: Shell,
    /// Where it hangs: address and name.
    pub(super) crumbs: Vec<(String, String)>,
    pub(super) title: String,
    pub(super) lead: &'static str,
    pub(super) consequences: Vec<String>,
    pub(super) summary: Summary,
    pub(super) password: Field,
    pub(super) button: &'static str,
}

impl Confirmation {
    /// Where *Cancel* leads.
    fn back(&self) -> &str {
        self.crumbs.last().map_or("/agents", |(address, _)| address)
    }
}

/// When what will end was used last.
pub(super) fn last_used(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "it was never used".into(), |at| format!("it was used last {}", ago(at, now)))
}

/// The field for the password of whoever is signed in.
pub(super) fn own_password(wrong: &Wrong) -> Field {
    Field::text("password", "Your password", "", wrong)
        .kind("password", "current-password")
        .help("To show that it is you.")
        .most(1024)
}

/// Whether the form holds the visitor's password; else what to say at the field.
pub(super) async fn confirmed(app: &App, visitor: &Visitor, fields: &Fields) -> Result<Result<(), Wrong>, Mishap> {
    if app.confirm(&visitor.session, fields.get("password"), &visitor.browser).await? {
        return Ok(Ok(()));
    }
    Ok(Err(Wrong::at("password", "is not yours")))
}
