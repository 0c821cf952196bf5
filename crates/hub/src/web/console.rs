//! The console: pages for people, whole on the server, the same with JavaScript and without.
//!
//! Every page that changes something takes a form with its session's token, from this very origin. `routes` is the table of
//! contents; a file holds the pages of one thing.

mod activity;
mod addresses;
mod agent;
mod agent_figures;
mod agent_place;
mod agents;
mod assets;
mod chart;
mod clients;
mod confirm;
mod credentials;
mod diff;
mod docs;
mod flow;
mod guard;
mod json;
mod me;
mod member;
mod missing;
mod notifications;
mod page;
mod pager;
mod people;
mod pipeline;
mod pipelines;
mod register;
mod restart;
mod revisions;
mod settings;
mod show;
mod sign_in;
mod times;
mod trust;
mod visitor;
mod wizard;
mod yaml;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::app::App;

pub(crate) use missing::no_such_path;

/// Every page there is.
pub(crate) fn routes(app: &Arc<App>) -> Router<Arc<App>> {
    let pages = Router::new()
        .route("/", get(sign_in::home))
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/join/{token}", get(sign_in::joining).post(sign_in::join))
        .route("/look", post(sign_in::look))
        .route("/agents", get(agents::list).post(agents::create))
        .route("/agents/new", get(agents::add))
        .route("/agents/{id}", get(agent::details))
        .route("/agents/{id}/figures", get(agent_figures::figures))
        .route("/agents/{id}/conditions", get(agent::conditions))
        .route("/agents/{id}/events", get(agent::events))
        .route("/agents/{id}/install", get(agent_place::install))
        .route("/agents/{id}/allowlist", get(agent_place::allowlist))
        .route("/agents/{id}/instances", get(agent_place::instances))
        .route("/agents/{id}/commands", get(agent_place::commands))
        .route("/agents/{id}/edit", get(agent::edit).post(agent::change))
        .route("/agents/{id}/credentials", get(credentials::list).post(credentials::reveal))
        .route("/agents/{id}/credentials/rotate", get(credentials::rotation).post(credentials::rotate))
        .route("/agents/{id}/credentials/{credential}/revoke", get(credentials::revocation).post(credentials::revoke))
        .route("/agents/{id}/trust", get(trust::list))
        .route("/agents/{id}/trust/keys", get(trust::new_key).post(trust::add_key))
        .route("/agents/{id}/trust/rules", get(trust::new_rule).post(trust::add_rule))
        .route("/agents/{id}/trust/{one}/remove", get(trust::removal).post(trust::remove))
        .route("/agents/{id}/addresses", get(addresses::show).post(addresses::allow))
        .route("/agents/{id}/remove", get(agent::removal).post(agent::remove))
        .route("/pipelines", get(pipelines::list))
        .route("/pipelines/new", get(wizard::begin).post(wizard::create_draft))
        .route("/pipelines/new/{draft}/{step}", get(wizard::step).post(wizard::keep))
        .route("/pipelines/{id}", get(pipeline::overview))
        .route("/pipelines/{id}/tables", get(pipeline::tables))
        .route("/pipelines/{id}/events", get(pipeline::events))
        .route("/pipelines/{id}/configuration", get(pipeline::configuration))
        .route("/pipelines/{id}/times", get(times::show).post(times::keep))
        .route("/pipelines/{id}/edit", post(wizard::edit))
        .route("/pipelines/{id}/start", post(pipeline::start))
        .route("/pipelines/{id}/stop", post(pipeline::stop))
        .route("/pipelines/{id}/restart", get(restart::ask).post(restart::restart))
        .route("/pipelines/{id}/revisions", get(revisions::list))
        .route("/pipelines/{id}/rollback", post(revisions::roll_back))
        .route("/pipelines/{id}/commands", get(revisions::commands))
        .route("/pipelines/{id}/activity", get(activity::of_pipeline))
        .route("/pipelines/{id}/delete", get(pipeline::deletion).post(pipeline::delete))
        .route("/docs", get(docs::contents))
        .route("/docs/{*place}", get(docs::document))
        .route("/activity", get(activity::list))
        .route("/people", get(people::list).post(people::invite))
        .route("/settings/notifications", get(notifications::list).post(notifications::add))
        .route("/settings/notifications/{id}/test", post(notifications::test))
        .route("/settings/notifications/{id}/remove", post(notifications::remove))
        .route("/people/withdraw", post(people::withdraw))
        .route("/people/{id}", get(member::details))
        .route("/people/{id}/role", post(member::change_role))
        .route("/people/{id}/disable", get(member::disabling).post(member::disable))
        .route("/people/{id}/enable", post(member::enable))
        .route("/people/{id}/sessions", post(member::end_sessions))
        .route("/people/{id}/remove", get(member::removal).post(member::remove))
        .route("/api-clients", get(clients::list).post(clients::create))
        .route("/api-clients/{id}/revoke", get(clients::revocation).post(clients::revoke))
        .route("/settings", get(settings::show))
        .route("/settings/name", post(settings::rename))
        .route("/settings/addresses", post(settings::allow))
        .route("/settings/projects", post(settings::create_project))
        .route("/settings/projects/{id}", post(settings::rename_project))
        .route("/me", get(me::show))
        .route("/me/password", post(me::change_password))
        .route("/me/sessions", post(me::end_sessions))
        .route("/switch", post(me::switch))
        .route("/register", get(register::page).post(register::register))
        .layer(from_fn_with_state(Arc::clone(app), guard::guard));
    Router::new().merge(pages).route("/assets/{hash}/{name}", get(assets::asset))
}

pub(crate) use guard::everywhere;

/// The headers that every answer to a browser has.
pub(crate) fn protect(headers: &mut axum::http::HeaderMap) {
    guard::put(headers, false);
}
