//! The console: pages for people, whole on the server, the same with JavaScript and without.
//!
//! Every page that changes something takes a form with its session's token, from this very origin. `routes` is the table of
//! contents; a file holds the pages of one thing.

mod activity;
mod agent;
mod agent_place;
mod agents;
mod assets;
mod diff;
mod flow;
mod guard;
mod json;
mod page;
mod people;
mod pipeline;
mod pipelines;
mod restart;
mod revisions;
mod show;
mod sign_in;
mod visitor;
mod wizard;
mod yaml;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::app::App;

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
        .route("/agents/{id}/conditions", get(agent::conditions))
        .route("/agents/{id}/events", get(agent::events))
        .route("/agents/{id}/install", get(agent_place::install))
        .route("/agents/{id}/allowlist", get(agent_place::allowlist))
        .route("/agents/{id}/instances", get(agent_place::instances))
        .route("/agents/{id}/commands", get(agent_place::commands))
        .route("/agents/{id}/edit", get(agent::edit).post(agent::change))
        .route("/agents/{id}/credentials", get(agent::confirm).post(agent::reveal))
        .route("/agents/{id}/remove", get(agent::removal).post(agent::remove))
        .route("/pipelines", get(pipelines::list))
        .route("/pipelines/new", get(wizard::begin).post(wizard::create_draft))
        .route("/pipelines/new/{draft}/{step}", get(wizard::step).post(wizard::keep))
        .route("/pipelines/{id}", get(pipeline::overview))
        .route("/pipelines/{id}/tables", get(pipeline::tables))
        .route("/pipelines/{id}/events", get(pipeline::events))
        .route("/pipelines/{id}/configuration", get(pipeline::configuration))
        .route("/pipelines/{id}/edit", post(wizard::edit))
        .route("/pipelines/{id}/start", post(pipeline::start))
        .route("/pipelines/{id}/stop", post(pipeline::stop))
        .route("/pipelines/{id}/restart", get(restart::ask).post(restart::restart))
        .route("/pipelines/{id}/revisions", get(revisions::list))
        .route("/pipelines/{id}/rollback", post(revisions::roll_back))
        .route("/pipelines/{id}/commands", get(revisions::commands))
        .route("/pipelines/{id}/delete", get(pipeline::deletion).post(pipeline::delete))
        .route("/activity", get(activity::list))
        .route("/people", get(people::list).post(people::invite))
        .layer(from_fn_with_state(Arc::clone(app), guard::guard));
    Router::new().merge(pages).route("/assets/{hash}/{name}", get(assets::asset))
}
