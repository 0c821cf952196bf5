//! Where an agent's process may call from.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::{confirmed, own_password};
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Field, Summary};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::accounts::ALLOWED;
use crate::auth::addresses::Allowed;
use crate::db::agents::Agent;

#[derive(Template)]
#[template(path = "agent_addresses.html")]
struct AddressesPage {
    shell: Shell,
    id: String,
    name: String,
    /// Where the agent called from last.
    last: Option<String>,
    /// Whether the list that was sent would shut it out.
    asks_to_force: bool,
    summary: Summary,
    ranges: Field,
    password: Field,
}

/// The field for a list of ranges, one a line.
pub(super) fn ranges_field(value: String, wrong: &Wrong) -> Field {
    Field::text(ALLOWED, "Allowed addresses", value, wrong)
        .kind("area", "off")
        .most(8000)
        .help("One address or range a line, IPv4 or IPv6: 203.0.113.7, 203.0.113.0/24, 2001:db8::/32. Empty: from everywhere.")
        .optional()
}

/// The ranges in a form.
pub(super) fn ranges(fields: &Fields) -> Result<Allowed, crate::fault::Refused> {
    let written = fields.get(ALLOWED).split([',', ' ', '\r', '\n', '\t']);
    Allowed::parse(written.filter(|text| !text.is_empty()), ALLOWED)
}

async fn addresses_page(
    app: &App,
    visitor: &Visitor,
    agent: &Agent,
    (typed, wrong): (Option<&Fields>, Wrong),
) -> Result<AddressesPage, Mishap> {
    let (allowed, last) = app.agent_addresses(&visitor.caller, &agent.id).await?;
    let value = typed.map_or_else(|| allowed.texts().join("\n"), |fields| fields.get(ALLOWED).to_owned());
    Ok(AddressesPage {
        shell: visitor.shell(format!("Addresses of {}", agent.name), "agents"),
        id: agent.id.clone(),
        name: agent.name.clone(),
        last,
        asks_to_force: !wrong.of(ALLOWED).is_empty(),
        ranges: ranges_field(value, &wrong),
        password: own_password(&wrong),
        summary: Summary(wrong),
    })
}

pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&addresses_page(&app, &visitor, &agent, (None, Wrong::default())).await?))
}

pub(crate) async fn allow(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        let again = addresses_page(&app, &visitor, &agent, (Some(&fields), wrong)).await?;
        return Ok(with_status(StatusCode::UNAUTHORIZED, &again));
    }
    let forced = fields.get("force") == "yes";
    let done = match ranges(&fields) {
        Ok(allowed) => app.allow_agent_addresses(&visitor.caller, &id, &allowed, forced).await,
        Err(refused) => Err(refused),
    };
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/agents/{id}")).into_response()),
        Err(refused) => {
            let again = addresses_page(&app, &visitor, &agent, (Some(&fields), Wrong::from(refused)?)).await?;
            Ok(with_status(StatusCode::BAD_REQUEST, &again))
        }
    }
}
