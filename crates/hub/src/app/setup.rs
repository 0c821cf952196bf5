//! The first account of an empty hub, with its project and its first API client.

use millrace_model::Clock;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::App;
use crate::auth::{Role, secret};
use crate::db::accounts::{self, ApiClient, Named};
use crate::db::audit;
use crate::fault::{Cause, Refused};
use crate::settings::Settings;

/// What `hub bootstrap` is told.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Name of the account.
    pub account: String,
    /// Name of its project.
    pub project: String,
    /// Name of its API client.
    pub api_client: String,
}

/// What `hub bootstrap` prints, once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrapped {
    /// The account.
    pub account_id: String,
    /// Its project.
    pub project_id: String,
    /// Id of the API client.
    pub client_id: String,
    /// Its secret; not kept.
    pub client_secret: String,
}

/// Sets up an empty hub.
pub async fn bootstrap(settings: Settings, clock: Arc<dyn Clock>, asked: Bootstrap) -> Result<Bootstrapped, Cause> {
    let app = App::open(settings, clock).await?;
    app.bootstrap(asked).await.map_err(|refused| match refused {
        Refused::Conflict { .. } => Cause::SetUpAlready,
        Refused::Failed(cause) => Cause::Damaged(cause.to_string()),
        other => Cause::Settings(other.to_string()),
    })
}

impl App {
    async fn bootstrap(&self, asked: Bootstrap) -> Result<Bootstrapped, Refused> {
        let now = self.now();
        let account = Named { id: Uuid::now_v7().to_string(), name: asked.account };
        let project = Named { id: Uuid::now_v7().to_string(), name: asked.project };
        let client_secret = secret::new()?;
        let client = ApiClient {
            id: Uuid::new_v4().to_string(),
            account_id: account.id.clone(),
            role: Role::Owner.as_str().into(),
            secret_hash: secret::hash(&client_secret),
        };
        let mut writing = self.db.write().await?;
        if accounts::any(writing.on()).await? {
            return Err(Refused::conflict("set_up_already", "this hub is set up already"));
        }
        accounts::insert(writing.on(), &account, now).await?;
        accounts::insert_project(writing.on(), &account.id, &project, now).await?;
        accounts::insert_client(writing.on(), &client, &asked.api_client, now).await?;
        let entry = audit::Entry {
            account_id: Some(&account.id),
            actor: "hub",
            address: "",
            action: "hub.bootstrap",
            object: &format!("client:{}", client.id),
            detail: &asked.api_client,
            outcome: "done",
        };
        audit::add(writing.on(), entry, now).await?;
        writing.commit().await?;
        Ok(Bootstrapped { account_id: account.id, project_id: project.id, client_id: client.id, client_secret })
    }
}
