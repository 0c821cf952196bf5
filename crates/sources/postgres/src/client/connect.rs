//! From a host name to a session that is ready for queries: TCP, startup, authentication.

use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use millrace_model::SecretValue;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tracing::info;

use crate::client::pace::RECEIVE_BUFFER;
use crate::client::server_error::{ServerError, state};
use crate::client::session::Session;
use crate::decode::reader::Reader;
use crate::fault::Cause;
use crate::settings::Settings;

/// A server that takes longer than this to let us in is taken for dead.
const CONNECT_DEADLINE: Duration = Duration::from_secs(20);

/// A way that is cut without a word (by a firewall, a router, a load balancer that has forgotten the connection) looks like a
/// server that works in silence, for as long as a statement may take. So the system asks the other end for a sign of life
/// after so much silence,
const SILENCE: Duration = Duration::from_secs(30);
/// then each
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// so many times,
const PROBES: u32 = 3;
/// and gives up what was sent and not acknowledged as soon.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);

/// What every session sets, of snapshot and log alike, so that the same value always has the same text. A startup option
/// beats what was set for the role or the database. `search_path` is empty: only `pg_catalog` is searched. Without
/// `jit`: the server overrates what it takes to walk a tree of partitions, and would compile for longer than it runs.
const OPTIONS: &str = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601 -c extra_float_digits=3 \
    -c bytea_output=hex -c search_path= -c row_security=off -c statement_timeout=0 -c lock_timeout=0 \
    -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off \
    -c jit=off -c default_transaction_isolation=read\\ committed";

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Queries.
    Queries,
    /// Replication commands too; only simple queries work there.
    Replication,
}

/// Opens a session. A password that is refused is read anew, once: it may have been rotated.
pub(crate) async fn connect(settings: &Settings, purpose: Purpose) -> Result<Session, Cause> {
    let Some(password) = &settings.password else { return attempt(settings, purpose, None).await };
    let value = password.value().await.map_err(Cause::Secret)?;
    let mut opened = attempt(settings, purpose, Some(&value)).await;
    if is_refused(&opened)
        && let Some(newer) = password.newer(&value).await.map_err(Cause::Secret)?
    {
        info!(code = "secret_rotated", "the password was refused, and the secret has another one by now");
        opened = attempt(settings, purpose, Some(&newer)).await;
    }
    match opened {
        Ok(session) => {
            password.accepted();
            Ok(session)
        }
        Err(Cause::Refused { user, answer })
            if answer.is(state::WRONG_PASSWORD) && password.may_be_rotated(Instant::now()) =>
        {
            Err(Cause::RefusedForNow { user, answer })
        }
        Err(cause) => Err(cause),
    }
}

/// Whether no line of `pg_hba.conf` lets us in: roles that are missing or may not log in have the same SQLSTATE.
fn is_by_address(answer: &ServerError) -> bool {
    answer.is(state::NOT_AUTHORIZED) && answer.routine == "ClientAuthentication"
}

fn is_refused(opened: &Result<Session, Cause>) -> bool {
    matches!(opened, Err(Cause::Refused { answer, .. }) if answer.is(state::WRONG_PASSWORD))
}

async fn attempt(settings: &Settings, purpose: Purpose, password: Option<&SecretValue>) -> Result<Session, Cause> {
    let unreachable = |source| Cause::Unreachable { address: settings.address(), source };
    match tokio::time::timeout(CONNECT_DEADLINE, connect_at_leisure(settings, purpose, password)).await {
        Ok(Err(Cause::Lost { source })) => Err(unreachable(source)),
        Ok(Err(Cause::Refused { user, answer }))
            if is_by_address(&answer) && offers_tls(settings).await.unwrap_or(false) =>
        {
            Err(Cause::PlainRefused { user, answer })
        }
        Ok(Err(Cause::Ended)) => Err(unreachable(io::ErrorKind::ConnectionReset.into())),
        Ok(answer) => answer,
        Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
    }
}

/// Connects to the first address that answers.
async fn open(place: (&str, u16), purpose: Purpose) -> io::Result<TcpStream> {
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in tokio::net::lookup_host(place).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if purpose == Purpose::Replication {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        match socket.connect(address).await {
            Ok(stream) => {
                notice_silence(&stream)?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn notice_silence(stream: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_INTERVAL).with_retries(PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

async fn connect_at_leisure(
    settings: &Settings,
    purpose: Purpose,
    password: Option<&SecretValue>,
) -> Result<Session, Cause> {
    let stream = open((settings.host.as_str(), settings.port), purpose).await.map_err(lost)?;
    stream.set_nodelay(true).map_err(lost)?;
    let mut session = Session::new(stream).map_err(lost)?;
    let mut parameters = vec![
        ("user", settings.username.as_str()),
        ("database", settings.database.as_str()),
        ("client_encoding", "UTF8"),
        ("application_name", "millrace"),
        ("options", OPTIONS),
    ];
    if purpose == Purpose::Replication {
        parameters.push(("replication", "database"));
    }
    let mut out = BytesMut::new();
    frontend::startup_message(parameters, &mut out).map_err(lost)?;
    session.send(&out).await?;
    authenticate(&mut session, settings, password).await?;
    session.finish_startup().await.map_err(|cause| refusal(cause, settings))?;
    match session.version() / 10_000 {
        0..13 => Err(Cause::TooOld { version: session.version() / 10_000 }),
        _ => Ok(session),
    }
}

/// Whether the server would encrypt a connection (manual, "SSL Session Encryption": `SSLRequest`, answered by one byte).
pub(crate) async fn offers_tls(settings: &Settings) -> Result<bool, Cause> {
    let ask = async {
        let mut stream = TcpStream::connect((settings.host.as_str(), settings.port)).await?;
        let mut out = BytesMut::new();
        frontend::ssl_request(&mut out);
        stream.write_all(&out).await?;
        stream.read_u8().await
    };
    let answer =
        tokio::time::timeout(CONNECT_DEADLINE, ask).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match answer {
        Ok(answer) => Ok(answer == b'S'),
        Err(source) => Err(Cause::Unreachable { address: settings.address(), source }),
    }
}

fn lost(source: io::Error) -> Cause {
    Cause::Lost { source }
}

/// What an error during startup means.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else went wrong stays what it is")]
fn refusal(cause: Cause, settings: &Settings) -> Cause {
    match cause {
        Cause::Statement(answer) if answer.is(state::WRONG_PASSWORD) || answer.is(state::NOT_AUTHORIZED) => {
            Cause::Refused { user: settings.username.clone(), answer }
        }
        Cause::Statement(answer) if answer.is(state::NO_DATABASE) => {
            Cause::NoDatabase { database: settings.database.clone() }
        }
        Cause::NotReady(answer) if state::NO_STARTUP.iter().any(|state| answer.is(state)) => Cause::NotItself(answer),
        // CONNECT is not granted, or the role may not replicate: the message says which.
        other => other,
    }
}

/// Kinds of authentication request (manual, "Message Formats", Authentication…).
mod request {
    pub(super) const OK: u32 = 0;
    pub(super) const CLEARTEXT: u32 = 3;
    pub(super) const MD5: u32 = 5;
    pub(super) const SASL: u32 = 10;
    pub(super) const SASL_CONTINUE: u32 = 11;
    pub(super) const SASL_FINAL: u32 = 12;
}

async fn authenticate(session: &mut Session, settings: &Settings, password: Option<&SecretValue>) -> Result<(), Cause> {
    let user = settings.username.as_str();
    let method = |what| Cause::Method { user: user.to_owned(), what };
    let password = || password.map(|it| it.reveal().as_bytes()).ok_or(method("a password"));
    let mut scram: Option<ScramSha256> = None;
    loop {
        let (kind, challenge) = next_request(session, settings).await?;
        let mut out = BytesMut::new();
        match kind {
            request::OK => return Ok(()),
            request::CLEARTEXT => frontend::password_message(password()?, &mut out).map_err(lost)?,
            request::MD5 => {
                let salt = challenge.as_slice().try_into().map_err(|_length| Cause::Answer("an md5 request"))?;
                let hash = md5_hash(user.as_bytes(), password()?, salt);
                frontend::password_message(hash.as_bytes(), &mut out).map_err(lost)?;
            }
            request::SASL => {
                if !challenge.split(|&byte| byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
                    return Err(method("an unknown kind of authentication"));
                }
                let exchange = scram.insert(ScramSha256::new(password()?, ChannelBinding::unsupported()));
                frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut out).map_err(lost)?;
            }
            request::SASL_CONTINUE => {
                let exchange = scram.as_mut().ok_or(Cause::Answer("a SCRAM exchange"))?;
                exchange.update(&challenge).map_err(|_unproven| Cause::Answer("a SCRAM exchange"))?;
                frontend::sasl_response(exchange.message(), &mut out).map_err(lost)?;
            }
            request::SASL_FINAL => {
                let exchange = scram.as_mut().ok_or(Cause::Answer("a SCRAM exchange"))?;
                // A server that cannot prove that it knows the password is not the one that was meant.
                exchange
                    .finish(&challenge)
                    .map_err(|_unproven| method("a password, without proving that it knows it"))?;
                continue;
            }
            _ => return Err(method("a kind of authentication other than trust, password, md5 and scram-sha-256")),
        }
        session.send(&out).await?;
    }
}

async fn next_request(session: &mut Session, settings: &Settings) -> Result<(u32, Vec<u8>), Cause> {
    loop {
        let frame = session.frame().await?;
        let body = session.body(&frame);
        match frame.tag {
            b'R' => {
                let mut reader = Reader::new(body);
                let kind = reader.u32().map_err(|_short| Cause::Answer("an authentication request"))?;
                let challenge = reader.rest().to_vec();
                session.consume(&frame);
                return Ok((kind, challenge));
            }
            b'E' => return Err(refusal(Cause::of(ServerError::parse(body)), settings)),
            _ => session.consume(&frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_way_that_is_cut_without_a_word_is_noticed_within_a_minute() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        for purpose in [Purpose::Queries, Purpose::Replication] {
            let stream = open(("127.0.0.1", port), purpose).await.unwrap();
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap());
            let probes = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
            assert!(socket.tcp_keepalive_time().unwrap() + probes <= Duration::from_mins(1));
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_mins(1)));
        }
    }
}
