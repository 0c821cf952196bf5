//! `/agents/{id}/install`: how an agent is started, as text to be copied.

use std::sync::Arc;

use axum::extract::State;

use crate::app::App;
use crate::fault::Refused;
use crate::web::deploy::{self, SignIn};
use crate::web::request::{ApiCaller, Asked, Ids};

/// How the agent is started, ready to be copied, with what it signs in with: a key before a trust rule before its secret. None of that
/// itself is ever part of it. `format` is `env`, `docker`, or the word
/// of a deployment; absent: the agent's own.
#[utoipa::path(get, path = "/agents/{id}/install", operation_id = "readInstallation", tag = "agents",
    params(("format" = inline(Option<String>), Query, description = "`env`, `docker`, or the word of a deployment")),
    responses((status = 200, description = "Text to be copied", body = String, content_type = "text/plain")))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    asked: Asked,
) -> Result<String, Refused> {
    let agent = app.agent(&caller, &id).await?;
    let format = asked.text("format").unwrap_or(&agent.deployment);
    let sign_in = SignIn::of(&app.trust(&caller, &id).await?, &app.settings.public_url);
    deploy::text(&app.settings, (&agent, &sign_in), format).ok_or_else(|| {
        Refused::invalid("format", format!("must be one of {}", deploy::FORMATS.map(|(word, _)| word).join(", ")))
    })
}
