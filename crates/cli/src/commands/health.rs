//! `millrace health`: asks a running `run` whether it is ready. The exit code says it: 0 or 1.

use std::time::Duration;

use millrace_agent::listen::DEFAULT_ADDRESS;
use serde_json::json;
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

/// Asks and prints the answer.
pub(crate) async fn health(arguments: HealthArguments, console: &Console) -> Result<u8, Failure> {
    // Without the flag an agent is asked where its own environment says that it listens.
    let address = match variable("LISTEN") {
        Some(listen) if arguments.listen == DEFAULT_ADDRESS => listen,
        _ => arguments.listen,
    };
    let no_answer = |error| Cause::NoHealth { address: address.clone(), error };
    let answer = tokio::time::timeout(DEADLINE, ask(&address)).await;
    let answer = answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(no_answer)?;
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
    let ready = match status {
        Some("200") => true,
        Some("503") => false,
        _ => return Err(no_answer(std::io::Error::other("something else listens there")).into()),
    };
    let state = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    let result = json!({"ready": ready, "status": state});
    console.result(&result, |_, _| if ready { format!("ready: {state}") } else { format!("not ready: {state}") })?;
    Ok(if ready { DONE } else { FOUND })
}

async fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
