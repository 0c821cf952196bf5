//! `millrace health`: asks a running `run`, `agent` or `hub` whether it is ready, with TLS where that speaks it. The exit code says
//! it: 0 or 1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use millrace_agent::listen::DEFAULT_ADDRESS;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{DONE, FOUND, variable};
use crate::args::HealthArguments;
use crate::console::Console;
use crate::fault::{Cause, Failure};

/// Whoever asks in a loop, as container platforms do, wants an answer soon.
const DEADLINE: Duration = Duration::from_secs(4);
/// An answer of ours is shorter.
const LONGEST_ANSWER: u64 = 16 << 10;
/// First byte of a TLS alert (RFC 8446, 5.1).
const TLS_ALERT: u8 = 21;

/// Asks and prints the answer.
pub(crate) async fn health(arguments: HealthArguments, console: &Console) -> Result<u8, Failure> {
    // Without the flag an agent or a hub is asked where its own environment says that it listens.
    let named =
        if arguments.listen == DEFAULT_ADDRESS { variable("LISTEN").or_else(|| variable("HUB_LISTEN")) } else { None };
    let address = reachable(named.unwrap_or(arguments.listen));
    let no_answer = |error| Cause::NoHealth { address: address.clone(), error };
    let answer = tokio::time::timeout(DEADLINE, ask(&address)).await;
    let answer = answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(no_answer)?;
    let ready = match answer.status {
        200 => true,
        503 => false,
        _ => return Err(no_answer(std::io::Error::other("something else listens there")).into()),
    };
    let state = answer.state;
    let result = json!({"ready": ready, "status": state});
    console.result(&result, |_, _| if ready { format!("ready: {state}") } else { format!("not ready: {state}") })?;
    Ok(if ready { DONE } else { FOUND })
}

/// What was said.
struct Answer {
    status: u16,
    state: String,
}

/// What listens at every address of a machine is asked at its own.
fn reachable(listen: String) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let own = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
            SocketAddr::new(own, address.port()).to_string()
        }
        _ => listen,
    }
}

async fn ask(address: &str) -> std::io::Result<Answer> {
    match ask_plainly(address).await {
        // Whoever speaks TLS hangs up on plain text, with an alert or without.
        Ok(said) if said.is_empty() || said.first() == Some(&TLS_ALERT) => ask_by_tls(address).await,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => ask_by_tls(address).await,
        said => Ok(understood(&String::from_utf8_lossy(&said?))),
    }
}

async fn ask_plainly(address: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The certificate is that of the hub's name outside, and it is asked from beside it, by number: it cannot be judged here. Nothing
/// secret is sent, and nothing is believed but whether it is ready.
async fn ask_by_tls(address: &str) -> std::io::Result<Answer> {
    let _set_already = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
    let client = client.redirect(reqwest::redirect::Policy::none()).build().map_err(std::io::Error::other)?;
    let answer = client.get(format!("https://{address}/readyz")).send().await.map_err(std::io::Error::other)?;
    let status = answer.status().as_u16();
    Ok(Answer { status, state: state(&answer.text().await.map_err(std::io::Error::other)?) })
}

fn understood(answer: &str) -> Answer {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Answer { status: status.unwrap_or_default(), state: state(body) }
}

/// A run and an agent say a word, a hub says JSON.
fn state(body: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(said)) if said.get("ready") == Some(&Value::Bool(true)) => "serving".into(),
        Ok(Value::Object(_)) => "without its database".into(),
        _ => body.trim().into(),
    }
}
