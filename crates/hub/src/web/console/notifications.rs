//! Who is told when something needs someone. For owners.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Badge, Choice, Field, Pick, Shape, Summary, When, filters};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::recipients::{EVENTS, NewRecipient, shown};
use crate::db::recipients::Recipient;
use crate::fault::Refused;

struct Row {
    id: String,
    host: String,
    kind: &'static str,
    events: Vec<&'static str>,
    badge: Badge,
    when: Option<When>,
    trouble: String,
}

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsPage {
    shell: Shell,
    rows: Vec<Row>,
    /// Host and secret of the webhook that was just made.
    made: Option<(String, String)>,
    /// Where the test went, and why it did not arrive.
    tested: Option<(String, String)>,
    summary: Summary,
    kind: Choice,
    address: Field,
    events: Vec<(&'static str, &'static str, bool)>,
    wrong_events: String,
}

/// An event in few words, for a table.
fn briefly(word: &str) -> &'static str {
    match word {
        "pipeline_failed" => "failed pipelines",
        "agent_unknown" => "silent agents",
        "credentials_expiring" => "secrets about to expire",
        _ => "recovery",
    }
}

fn row(app: &App, recipient: Recipient) -> Row {
    let now = app.now();
    let (badge, when) = match (&recipient.trouble, recipient.reached_at) {
        (Some((_, at)), _) => (Badge::new(Shape::Triangle, "bad", "Not delivered"), Some(When::new(*at, now))),
        (None, Some(at)) => (Badge::new(Shape::Dot, "good", "Delivered"), Some(When::new(at, now))),
        (None, None) => (Badge::new(Shape::Ring, "quiet", "None yet"), None),
    };
    Row {
        host: shown(&recipient.address).to_owned(),
        kind: if recipient.kind == "webhook" { "Webhook" } else { "E-mail" },
        events: recipient.events.iter().map(|word| briefly(word)).collect(),
        badge,
        when,
        trouble: recipient.trouble.map(|(why, _)| why).unwrap_or_default(),
        id: recipient.id,
    }
}

#[derive(Default)]
struct Said {
    made: Option<(String, String)>,
    tested: Option<(String, String)>,
}

async fn notifications(
    app: &App,
    visitor: &Visitor,
    fields: &Fields,
    (wrong, said): (Wrong, Said),
) -> Result<NotificationsPage, Mishap> {
    let recipients = app.recipients(&visitor.caller).await?;
    let is_first = fields.get("kind").is_empty();
    let mut mail = Pick::new("email", "E-mail", fields.get("kind"));
    if app.settings.smtp.is_none() {
        mail.text = "E-mail: this hub has no mail server".into();
        mail.is_possible = false;
    }
    Ok(NotificationsPage {
        shell: visitor.shell("Notifications", "notifications"),
        rows: recipients.into_iter().map(|recipient| row(app, recipient)).collect(),
        kind: Choice::of("kind", "By", vec![Pick::new("webhook", "Webhook", fields.get("kind")), mail], &wrong)
            .help("A webhook gets a signed JSON message, an e-mail address a short text."),
        address: Field::text("address", "Address", fields.get("address"), &wrong)
            .most(2000)
            .help("Of a webhook its URL, https and public; else the e-mail address."),
        events: EVENTS
            .iter()
            .map(|(word, text)| (*word, *text, is_first || fields.all("events").any(|chosen| chosen == *word)))
            .collect(),
        wrong_events: wrong.of("events"),
        summary: Summary(wrong),
        made: said.made,
        tested: said.tested,
    })
}

pub(crate) async fn list(State(app): State<Arc<App>>, visitor: Visitor) -> Result<Response, Mishap> {
    Ok(page(&notifications(&app, &visitor, &Fields::default(), (Wrong::default(), Said::default())).await?))
}

pub(crate) async fn add(State(app): State<Arc<App>>, Sent(visitor, fields): Sent) -> Result<Response, Mishap> {
    let kind = if fields.get("kind") == "email" { "email" } else { "webhook" };
    let events: Vec<String> = fields.all("events").map(str::to_owned).collect();
    let address = fields.get("address").trim();
    let added = match NewRecipient::check(&app, (kind, "address"), address, &events) {
        Ok(new) => app.add_recipient(&visitor.caller, new, None).await,
        Err(refused) => Err(refused),
    };
    match added {
        Ok((id, Some(secret))) => {
            let made = Some((shown(&app.recipient(&visitor.caller, &id).await?.address).to_owned(), secret));
            let said = (Wrong::default(), Said { made, tested: None });
            Ok(page(&notifications(&app, &visitor, &Fields::default(), said).await?))
        }
        Ok((_, None)) => Ok(Redirect::to("/settings/notifications").into_response()),
        Err(refused) => {
            let wrong = if let Refused::Conflict { message, .. } = refused {
                Wrong::at("address", message)
            } else {
                Wrong::from(refused)?
            };
            let shown = notifications(&app, &visitor, &fields, (wrong, Said::default())).await?;
            Ok(with_status(StatusCode::BAD_REQUEST, &shown))
        }
    }
}

pub(crate) async fn test(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, _): Sent,
) -> Result<Response, Mishap> {
    let host = shown(&app.recipient(&visitor.caller, &id).await?.address).to_owned();
    let why = app.test_recipient(&visitor.caller, &id).await?.err().unwrap_or_default();
    let said = (Wrong::default(), Said { made: None, tested: Some((host, why)) });
    Ok(page(&notifications(&app, &visitor, &Fields::default(), said).await?))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, _): Sent,
) -> Result<Response, Mishap> {
    app.remove_recipient(&visitor.caller, &id).await?;
    Ok(Redirect::to("/settings/notifications").into_response())
}
