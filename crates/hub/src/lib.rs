//! The hub: where agents and pipelines are created, started and watched. Rows and secrets of databases never come here.
//!
//! `web` holds the doors, `app` the rules, `db` the SQL, `auth` who is asking. The hub dials nobody: agents come to it.

mod app;
mod auth;
mod db;
mod fault;
mod settings;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_model::{Clock, Fault};
use tokio::net::TcpListener;
use tracing::info;

use app::App;

pub use app::setup::{Bootstrap, Bootstrapped, bootstrap, setup_link};
pub use db::{Place, Plan, plan};
pub use fault::Cause;
pub use settings::Settings;

/// The OpenAPI document of the API, as it is served at `/openapi.json`.
pub fn openapi() -> serde_json::Value {
    web::document()
}

/// A hub that listens.
pub struct Hub {
    listener: TcpListener,
    router: axum::Router,
    app: Arc<App>,
}

impl Hub {
    /// Opens database and address.
    pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let address = settings.listen.clone();
        let app = Arc::new(App::open(settings, clock).await?);
        app.show_owner_link().await.map_err(|refused| Cause::Damaged(refused.to_string()))?;
        let listener =
            TcpListener::bind(&address).await.map_err(|error| Cause::Listen { address: address.clone(), error })?;
        Ok(Self { listener, router: web::router(Arc::clone(&app)), app })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr, Fault> {
        self.listener.local_addr().map_err(|error| Cause::Listen { address: String::new(), error }.into())
    }

    /// Serves until `stop` ends.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), Fault> {
        let address = self.address()?;
        info!(code = "listening", address = %address, "the hub answers");
        let service = self.router.into_make_service_with_connect_info::<SocketAddr>();
        let serving = async { axum::serve(self.listener, service).with_graceful_shutdown(stop).await };
        let served = tokio::select! {
            served = serving => served,
            () = self.app.keep_books() => Ok(()),
            () = self.app.keep_figures() => Ok(()),
        };
        self.app.write_down().await;
        served.map_err(|error| Cause::Listen { address: address.to_string(), error }.into())
    }
}
