//! Listening: plainly, or with TLS, whose certificate is read again when its file changes or on SIGHUP. How many may come in, and
//! how long they may take, is in `bounds`.

pub(crate) mod bounds;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::fault::Cause;
use crate::settings::TlsFiles;
use bounds::{Bounds, Entrance};

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long a connection may take to end once the hub stops; held syncs end with it.
const GRACE: Duration = Duration::from_secs(2);

/// A certificate that is kept up to date.
pub(crate) struct Certificate {
    files: TlsFiles,
    config: Arc<ServerConfig>,
    /// SIGHUP. From the first moment on: it ends a process that does not listen for it.
    asked: Option<Signal>,
}

impl Certificate {
    /// Reads it.
    pub(crate) fn open(files: &TlsFiles) -> Result<Self, Cause> {
        let config = tls(files)?;
        // Without the signal the files are looked at all the same.
        Ok(Self { files: files.clone(), config, asked: signal(SignalKind::hangup()).ok() })
    }
}

/// Reads certificate and key, and makes sure that they belong together.
pub(crate) fn tls(files: &TlsFiles) -> Result<Arc<ServerConfig>, Cause> {
    let certificate = |why: String| wrong("the certificate", &files.certificate, why);
    let key = |why: String| wrong("the certificate's key", &files.key, why);
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(certificate("holds no certificate".into()));
    }
    let private = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| key(error.to_string()))?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| certificate(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| key(format!("does not go with the certificate: {error}")))?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn wrong(subject: &'static str, path: &Path, why: String) -> Cause {
    Cause::Certificate { subject, path: path.display().to_string(), why }
}

/// Serves until `stop` ends.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    (certificate, bounds): (Option<Certificate>, Bounds),
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let handle = Handle::new();
    let entrance = Entrance::new(router, bounds.clone());
    let listener = listener.into_std()?;
    let stopping = async {
        stop.await;
        handle.graceful_shutdown(Some(GRACE));
        // The server ends by itself now.
        std::future::pending::<()>().await;
    };
    let Some(Certificate { files, config, asked }) = certificate else {
        let server = bounded(axum_server::from_tcp(listener)?, &bounds);
        return tokio::select! {
            served = server.handle(handle.clone()).serve(entrance) => served,
            () = stopping => Ok(()),
        };
    };
    let config = RustlsConfig::from_config(config);
    let server = axum_server::from_tcp(listener)?.acceptor(RustlsAcceptor::new(config.clone()));
    tokio::select! {
        served = bounded(server, &bounds).handle(handle.clone()).serve(entrance) => served,
        () = stopping => Ok(()),
        () = keep(&files, &config, asked) => Ok(()),
    }
}

/// Without its own clock hyper waits for a caller for as long as that one likes.
fn bounded<A>(server: Server<SocketAddr, A>, bounds: &Bounds) -> Server<SocketAddr, A> {
    let mut server = server.http1_only().first_request_timeout(bounds.first);
    server.http_builder().http1().header_read_timeout(bounds.idle);
    server
}

/// Reads the certificate again whenever there is reason to, for as long as it is polled. One that cannot be used leaves the last
/// good one in place.
async fn keep(files: &TlsFiles, config: &RustlsConfig, mut asked: Option<Signal>) {
    let mut seen = changed(files);
    loop {
        let told = async {
            match &mut asked {
                Some(asked) => asked.recv().await,
                None => std::future::pending().await,
            }
        };
        let was_told = tokio::time::timeout(LOOK, told).await.is_ok();
        let now = changed(files);
        if !was_told && now == seen {
            continue;
        }
        seen = now;
        match tls(files) {
            Ok(new) => {
                config.reload_from_config(new);
                info!(code = "certificate", "the certificate was read again");
            }
            Err(cause) => warn!(code = "HB-008", "the last certificate stays in use: {cause}"),
        }
    }
}

/// When each of the two was last written.
fn changed(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key].map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok())
}
