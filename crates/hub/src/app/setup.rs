//! The first account of an empty hub, with its project and its first API client.

use millrace_model::Clock;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::App;
use super::joining::title_refused;
use super::people::{address, is_address};
use crate::auth::{Role, password, secret};
use crate::db::accounts::{self, Named};
use crate::db::audit;
use crate::db::clients::{self, ApiClient};
use crate::db::people::{self, Person};
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
    /// E-mail address and password of the first owner. Absent: a one-time link is made in place of it.
    pub owner: Option<(String, String)>,
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
    /// Where the first owner begins: the one-time link, or the page to sign in at where the owner has a password.
    pub setup_url: String,
}

impl Bootstrap {
    /// Refuses what cannot be before a folder is made for it: every flag that is wrong, by its name.
    fn check(&self) -> Result<(), Cause> {
        let titles = [("--account", &self.account), ("--project", &self.project), ("--api-client", &self.api_client)]
            .into_iter();
        let mut wrong: Vec<String> =
            titles.filter_map(|(flag, name)| title_refused(name).map(|why| format!("{flag} {why}"))).collect();
        if let Some((email, given)) = &self.owner {
            let email = address(email);
            if !is_address(&email) {
                wrong.push("--owner-email must be an e-mail address, like ann@example.com".into());
            }
            if let Some(why) = password::refused(given, &email) {
                wrong.push(format!("--owner-password-file: the password {why}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Cause::Settings(wrong.join("; "))) }
    }
}

/// Sets up an empty hub.
pub async fn bootstrap(settings: Settings, clock: Arc<dyn Clock>, asked: Bootstrap) -> Result<Bootstrapped, Cause> {
    asked.check()?;
    let app = App::open(settings, clock).await?;
    app.bootstrap(asked).await.map_err(|refused| match refused {
        Refused::Conflict { .. } => Cause::SetUpAlready,
        Refused::Failed(cause) | Refused::Unavailable(cause) => Cause::Damaged(cause.to_string()),
        other @ (Refused::Invalid(_)
        | Refused::Unauthenticated(_)
        | Refused::Forbidden(_)
        | Refused::NotFound(_)
        | Refused::Stale
        | Refused::Gone { .. }
        | Refused::TooMany { .. }) => Cause::Settings(other.to_string()),
    })
}

/// A new one-time link for the first owner, where the hub has no people yet.
pub async fn setup_link(settings: Settings, clock: Arc<dyn Clock>) -> Result<Option<String>, Cause> {
    let app = App::open(settings, clock).await?;
    app.owner_link().await.map_err(|refused| Cause::Damaged(refused.to_string()))
}

/// A new one-time link for the owner of a further account, whoever may come otherwise: the operator's own way.
pub async fn account_link(settings: Settings, clock: Arc<dyn Clock>) -> Result<String, Cause> {
    let app = App::open(settings, clock).await?;
    app.account_link().await.map_err(|refused| Cause::Damaged(refused.to_string()))
}

impl App {
    async fn bootstrap(&self, asked: Bootstrap) -> Result<Bootstrapped, Refused> {
        let now = self.now();
        let owner = match &asked.owner {
            None => None,
            Some((email, given)) => {
                let email = address(email);
                Some(Person { id: Uuid::now_v7().to_string(), password_hash: password::hash(given).await?, email })
            }
        };
        let account = Named { id: Uuid::now_v7().to_string(), name: asked.account };
        let project = Named { id: Uuid::now_v7().to_string(), name: asked.project };
        let client_secret = secret::new()?;
        let client = ApiClient {
            id: Uuid::new_v4().to_string(),
            account_id: account.id.clone(),
            role: Role::Owner.as_str().into(),
            secret_hash: secret::hash(&client_secret),
            name: asked.api_client.clone(),
            created_at: now,
            created_by: "hub".into(),
            last_used_at: None,
            last_address: None,
            allowed: "[]".into(),
        };
        let mut writing = self.db.write().await?;
        if accounts::any(writing.on()).await? {
            return Err(Refused::conflict("set_up_already", "this hub is set up already"));
        }
        accounts::insert(writing.on(), &account, now).await?;
        accounts::insert_project(writing.on(), &account.id, &project, now).await?;
        clients::insert(writing.on(), &client).await?;
        if let Some(owner) = &owner {
            people::keep(writing.on(), owner, now).await?;
            people::join(writing.on(), &owner.id, (&account.id, Role::Owner.as_str()), now).await?;
        }
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
        let setup_url = match self.owner_link().await? {
            Some(link) => link,
            None => format!("{}/sign-in", self.settings.public_url),
        };
        Ok(Bootstrapped {
            account_id: account.id,
            project_id: project.id,
            client_id: client.id,
            client_secret,
            setup_url,
        })
    }
}
