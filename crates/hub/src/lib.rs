//! The hub: where agents and pipelines are created, started and watched. Rows and secrets of databases never come here.
//!
//! `web` holds the doors, `app` the rules, `db` the SQL, `auth` who is asking. The hub dials no agent and no database: agents come
//! to it. It calls out only where an account wants to be told of something.

mod app;
mod auth;
mod caught;
mod db;
mod fault;
mod serve;
mod settings;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;

use millrace_model::{Clock, Fault};
use tokio::net::TcpListener;
use tracing::info;

use app::App;
use fault::{LISTEN, METRICS_LISTEN};
use serve::Certificate;
use serve::bounds::Bounds;
use settings::folder::Tenancy;

pub use app::backup::{Backup, back_up};
pub use app::doctor::doctor;
pub use app::setup::{Bootstrap, Bootstrapped, account_link, bootstrap, setup_link};
pub use db::{Place, Plan, plan};
pub use fault::Cause;
pub use settings::{Given, Networks, Registration, Settings, Smtp, TlsFiles as Tls};
pub use web::access::Door;

/// Every route and method, and who may use it: what `docs/reference/roles.md` is made of.
pub fn doors() -> &'static [Door] {
    web::doors()
}

/// The OpenAPI document of the API, as it is served at `/openapi.json`.
pub fn openapi() -> serde_json::Value {
    web::document()
}

/// A hub that listens.
pub struct Hub {
    listener: TcpListener,
    certificate: Option<Certificate>,
    metrics: Option<TcpListener>,
    router: axum::Router,
    app: Arc<App>,
    /// Until the hub ends.
    _tenancy: Option<Tenancy>,
}

impl Hub {
    /// Opens database and address.
    pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        // One provider of TLS for everything that listens or calls out; a second call finds it there.
        let _set_already = rustls::crypto::ring::default_provider().install_default();
        let (address, metrics) = (settings.listen.clone(), settings.metrics_listen.clone());
        let certificate = match &settings.tls {
            Some(files) => Some(Certificate::open(files)?),
            None => None,
        };
        settings.prepare()?;
        // Before the tables are touched, which another hub may be using.
        let tenancy = settings.occupy().await?;
        let app = Arc::new(App::open(settings, clock).await?);
        app.show_owner_link().await.map_err(|refused| Cause::Damaged(refused.to_string()))?;
        let listener = listen(LISTEN, &address).await?;
        let metrics = match metrics {
            Some(address) => Some(listen(METRICS_LISTEN, &address).await?),
            None => None,
        };
        Ok(Self { listener, certificate, metrics, router: web::router(Arc::clone(&app)), app, _tenancy: tenancy })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr, Fault> {
        self.listener
            .local_addr()
            .map_err(|error| Cause::Listen { variable: LISTEN, address: String::new(), error }.into())
    }

    /// Where its metrics are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `stop` ends.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), Fault> {
        let address = self.address()?;
        if let Some(metrics) = self.metrics_address() {
            info!(code = "metrics", address = %metrics, "metrics are at /metrics");
        }
        info!(code = "listening", address = %address, "the hub answers");
        let measured = web::metrics(Arc::clone(&self.app));
        let bounds = Bounds::of_process(self.app.settings.trusted_proxies.clone());
        let serving = serve::serve(self.listener, self.router, (self.certificate, bounds.clone()), stop);
        let measuring = async {
            match self.metrics {
                Some(listener) => serve::serve(listener, measured, (None, bounds), std::future::pending()).await,
                None => std::future::pending().await,
            }
        };
        let served = tokio::select! {
            served = serving => served,
            served = measuring => served,
            () = self.app.work() => Ok(()),
            () = caught::kept_up("figures", || self.app.keep_figures()) => Ok(()),
        };
        self.app.write_down().await;
        served.map_err(|error| Cause::Listen { variable: LISTEN, address: address.to_string(), error }.into())
    }
}

async fn listen(variable: &'static str, address: &str) -> Result<TcpListener, Cause> {
    let failed = |error| Cause::Listen { variable, address: address.to_owned(), error };
    TcpListener::bind(address).await.map_err(failed)
}
