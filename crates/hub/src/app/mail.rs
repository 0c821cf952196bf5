//! Messages as e-mail: plain text, by the mail server of the settings.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde_json::Value;

use crate::settings::Smtp;

/// How long each answer of the mail server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a message's body to an address; why it could not.
pub(super) async fn send(smtp: &Smtp, address: &str, id: &str, body: &str) -> Result<(), String> {
    let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let (subject, text) = (subject(&body), text(&body));
    let from: Mailbox = smtp.from.parse().map_err(|_error| "HUB_SMTP_FROM is no e-mail address".to_owned())?;
    let to: Mailbox = address.parse().map_err(|_error| "it is no e-mail address".to_owned())?;
    let host = from.email.domain().to_owned();
    let message = Message::builder()
        .from(from)
        .to(to)
        .subject(subject)
        .message_id(Some(format!("<{id}@{host}>")))
        .header(ContentType::TEXT_PLAIN)
        .body(text)
        .map_err(|error| error.to_string())?;
    let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(&smtp.url)
        .map_err(|_error| "HUB_SMTP_URL is not the address of a mail server".to_owned())?;
    let server = server.timeout(Some(PATIENCE)).build();
    server.send(message).await.map(drop).map_err(|error| format!("the mail server did not take it: {error}"))
}

fn changes(body: &Value) -> &[Value] {
    body.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn word<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn subject(body: &Value) -> String {
    let account = word(body, "/account/name");
    // One line, whatever an account is called.
    let line = match changes(body) {
        [] => format!("Millrace: a test from {account}"),
        [one] => format!("Millrace, {account}: {}", word(one, "/message").trim_end_matches('.')),
        many => {
            format!("Millrace, {account}: {} changes", many.len() as u64 + body["more"].as_u64().unwrap_or_default())
        }
    };
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

fn text(body: &Value) -> String {
    if changes(body).is_empty() {
        return "This is a test. Messages of your account arrive here.\n".into();
    }
    let mut text = String::new();
    for change in changes(body) {
        text += &format!("{}\n{}\n{}\n\n", word(change, "/message"), word(change, "/at"), word(change, "/link"));
    }
    match body["more"].as_u64() {
        None | Some(0) => {}
        Some(more) => text += &format!("And {more} more.\n"),
    }
    text
}
