//! A new account for whoever comes, where the hub is open.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::assets::{self, Linked};
use super::page::{Mishap, Wrong, page as rendered, with_status};
use super::show::{Field, Summary};
use super::sign_in::enter;
use super::visitor::{Fields, Filled, Guest};
use crate::app::App;
use crate::app::joining::Joining;
use crate::fault::Refused;
use crate::settings::Registration;

#[derive(Template)]
#[template(path = "register.html")]
struct RegisterPage {
    assets: &'static Linked,
    theme: &'static str,
    summary: Summary,
    account: Field,
    email: Field,
    password: Field,
}

fn register_page(guest: &Guest, fields: &Fields, wrong: Wrong) -> RegisterPage {
    RegisterPage {
        assets: assets::linked(),
        theme: guest.look.theme,
        account: Field::text("account", "Name of the account", fields.get("account"), &wrong)
            .help("Your company or team, as everyone who joins will see it.")
            .most(100),
        email: Field::text("email", "Email", fields.get("email"), &wrong).kind("email", "username"),
        password: Field::text("password", "Password", "", &wrong)
            .kind("password", "new-password")
            .help("At least 12 characters; a few words that do not belong together. With a login on this hub: the one you have.")
            .most(1024),
        summary: Summary(wrong),
    }
}

pub(crate) async fn page(State(app): State<Arc<App>>, guest: Guest) -> Result<Response, Mishap> {
    if app.settings.registration != Registration::Open {
        return Err(Refused::NotFound("registration").into());
    }
    Ok(rendered(&register_page(&guest, &Fields::default(), Wrong::default())))
}

pub(crate) async fn register(State(app): State<Arc<App>>, Filled(guest, fields): Filled) -> Result<Response, Mishap> {
    let joining =
        Joining { account: fields.get("account"), email: fields.get("email"), password: fields.get("password") };
    match app.register(joining, &guest.browser).await {
        Ok(ticket) => Ok(enter(&app, &ticket, "/agents")),
        Err(refused) => {
            Ok(with_status(StatusCode::BAD_REQUEST, &register_page(&guest, &fields, Wrong::from(refused)?)))
        }
    }
}
