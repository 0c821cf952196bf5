//! What may stand between an agent and what it talks to: TLS under a certificate authority of one's own, a proxy that lets
//! through what it is asked for by `CONNECT`, and a service's own no to some requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::fault::{Fault, Result};
use crate::flaky::{forward, request};
use crate::listener::Listener;

/// A certificate authority that nobody trusts by itself, and a certificate of it for [`NAME`].
pub struct Authority {
    /// Its own certificate, PEM: what `CUSTOM_CERT_LOCATION` is given.
    pub certificate: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

/// The name that the certificate is for; no resolver knows it.
pub const NAME: &str = "hub.millrace.test";

/// A longer head is not from one of our clients.
const LONGEST_HEAD: usize = 4096;

impl Authority {
    /// Makes both in `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        let at = |name: &str| folder.join(name);
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let own = ["req", "-x509", "-days", "2", "-subj", "/CN=Millrace tests", "-keyout", "ca.key", "-out", "ca.pem"];
        openssl(folder, &own.into_iter().chain(key).collect::<Vec<_>>())?;
        let asked = ["req", "-subj", "/CN=hub", "-keyout", "hub.key", "-out", "hub.csr"];
        openssl(folder, &asked.into_iter().chain(key).collect::<Vec<_>>())?;
        let names = format!("subjectAltName=DNS:{NAME},DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
        fs::write(at("names"), names).map_err(Fault::io(at("names")))?;
        let signed = ["x509", "-req", "-days", "2", "-in", "hub.csr", "-CA", "ca.pem", "-CAkey", "ca.key"];
        let more = ["-CAcreateserial", "-extfile", "names", "-out", "hub.pem"];
        openssl(folder, &signed.into_iter().chain(more).collect::<Vec<_>>())?;
        Ok(Self { certificate: at("ca.pem"), chain: at("hub.pem"), key: at("hub.key") })
    }

    fn acceptor(&self) -> Result<TlsAcceptor> {
        let refused = |error: &dyn std::fmt::Display| Fault::Unexpected(format!("the certificate is no good: {error}"));
        let chain = CertificateDer::pem_file_iter(&self.chain).map_err(|error| refused(&error))?;
        let chain: Vec<_> = chain.collect::<std::result::Result<_, _>>().map_err(|error| refused(&error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| refused(&error))?;
        let _set_already = rustls::crypto::ring::default_provider().install_default();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| refused(&error))?)))
    }
}

/// Runs openssl in a folder.
pub fn openssl(folder: &Path, arguments: &[&str]) -> Result<()> {
    let missing = |_| Fault::Missing { what: "openssl".into(), cure: "apt-get install -y openssl".into() };
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().map_err(missing)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Fault::Program { program: "openssl".into(), status: output.status.to_string(), stderr })
}

/// A door that is open as long as this lives.
pub struct Door {
    /// Where it is, on 127.0.0.1.
    pub port: u16,
    /// What was asked for, in order.
    asked: Asked,
    _listener: Listener,
}

/// Of a proxy `host:port`, of a service the requests.
type Asked = Arc<Mutex<Vec<String>>>;

impl Door {
    /// TLS in front of what listens at `port` of this machine.
    pub fn tls(authority: &Authority, port: u16) -> Result<Self> {
        let acceptor = authority.acceptor()?;
        Self::open(move |stream, _asked| {
            let acceptor = acceptor.clone();
            async move {
                let (mut stream, mut inner) = (acceptor.accept(stream).await?, inner(port).await?);
                copy_bidirectional(&mut stream, &mut inner).await.map(drop)
            }
        })
    }

    /// A proxy that takes whoever asks, wherever they want to go, to `port` of this machine.
    pub fn proxy(port: u16) -> Result<Self> {
        Self::open(move |mut stream, asked| async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
                head.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let mut words = head.split(' ');
            let (method, place) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            note(&asked, place);
            if method != "CONNECT" {
                return stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
            }
            let mut inner = inner(port).await?;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            copy_bidirectional(&mut stream, &mut inner).await.map(drop)
        })
    }

    /// A way to the HTTP service at `port` of this machine on which `refused` is asked for an answer, whole, to each first
    /// line; what it has none for goes through. Every request is noted, with its body as far as that is text.
    pub fn refusing(port: u16, refused: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Result<Self> {
        let refused = Arc::new(refused);
        Self::open(move |mut client, asked| {
            let refused = Arc::clone(&refused);
            async move {
                let Some(request) = request(&mut client).await? else { return Ok(()) };
                let text = String::from_utf8_lossy(&request);
                note(&asked, &text);
                let reply = match refused(text.lines().next().unwrap_or_default()) {
                    Some(answer) => answer.into_bytes(),
                    None => forward(port, &request).await?,
                };
                client.write_all(&reply).await
            }
        })
    }

    /// A way to the HTTP service at `port` of this machine that sends each request to it twice, and tells the second answer: as
    /// gateways do that ask again by themselves.
    pub fn repeating(port: u16) -> Result<Self> {
        Self::open(move |mut client, asked| async move {
            let Some(request) = request(&mut client).await? else { return Ok(()) };
            note(&asked, &String::from_utf8_lossy(&request));
            forward(port, &request).await?;
            let reply = forward(port, &request).await?;
            client.write_all(&reply).await
        })
    }

    /// What was asked for so far: of a proxy `host:port`, of a service the whole requests.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether something like this was asked for.
    pub fn has_asked(&self, like: impl Fn(&str) -> bool) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|asked| like(asked))
    }

    fn open<F, A>(answer: F) -> Result<Self>
    where
        F: Fn(TcpStream, Asked) -> A + Send + 'static,
        A: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let asked = Asked::default();
        let heard = Arc::clone(&asked);
        let listener = Listener::open(move |stream| answer(stream, Arc::clone(&heard)))?;
        Ok(Self { port: listener.port, asked, _listener: listener })
    }
}

fn note(asked: &Asked, what: &str) {
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_owned());
}

async fn inner(port: u16) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", port)).await
}
