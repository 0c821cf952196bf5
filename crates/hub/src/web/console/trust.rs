//! What an agent may sign in with beside a secret: its keys and its trust rules, added and removed. The password is asked for each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::confirm::{Confirmation, confirmed, last_used, own_password};
use super::page::{Mishap, Shell, Wrong, page, with_status};
use super::show::{Field, Summary, When};
use super::visitor::{Fields, Sent, Visitor};
use crate::app::App;
use crate::app::trust::{LONGEST_NAME, LONGEST_VALUE, NewRule};
use crate::auth::trust::Means;
use crate::db::agents::Agent;
use crate::db::trust::Trust;
use crate::fault::Refused;

struct Row {
    id: String,
    name: String,
    /// What it is: label and value.
    parts: Vec<(String, String)>,
    created: When,
    author: String,
    used: Option<When>,
    from: String,
}

#[derive(Template)]
#[template(path = "agent_trust.html")]
struct TrustPage {
    shell: Shell,
    id: String,
    name: String,
    keys: Vec<Row>,
    rules: Vec<Row>,
}

fn parts(means: &Means) -> Vec<(String, String)> {
    let part = |label: &str, value: &str| (label.to_owned(), value.to_owned());
    match means {
        Means::Key(key) => vec![part("Algorithm", &key.algorithm()), part("Thumbprint", &key.thumbprint())],
        Means::Rule(rule) => {
            let mut all = vec![part("iss", &rule.issuer), part("aud", &rule.audience), part("sub", &rule.subject)];
            all.extend(rule.claims.iter().map(|(name, value)| part(name, value)));
            all
        }
    }
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let names = app.names(&visitor.caller).await?;
    let row = |one: Trust| Row {
        parts: parts(&one.means),
        created: When::new(one.created_at, app.now()),
        author: names.get(&one.created_by).cloned().unwrap_or(one.created_by),
        used: one.last_used_at.map(|at| When::new(at, app.now())),
        from: one.last_address.unwrap_or_default(),
        id: one.id,
        name: one.name,
    };
    let all = app.trust(&visitor.caller, &id).await?;
    let (keys, rules): (Vec<Trust>, Vec<Trust>) = all.into_iter().partition(|one| one.means.kind() == "key");
    Ok(page(&TrustPage {
        shell: visitor.shell(format!("Sign-in of {}", agent.name), "agents"),
        id: agent.id,
        name: agent.name,
        keys: keys.into_iter().map(row).collect(),
        rules: rules.into_iter().map(row).collect(),
    }))
}

/// A page with a form for a new one.
#[derive(Template)]
#[template(path = "agent_trust_new.html")]
struct NewPage {
    shell: Shell,
    id: String,
    name: String,
    title: &'static str,
    lead: &'static str,
    is_rule: bool,
    hub: String,
    client_id: String,
    summary: Summary,
    fields: Vec<Field>,
    button: &'static str,
}

const NAME: &str = "name";

fn key_page(app: &App, visitor: &Visitor, agent: &Agent, (fields, wrong): (&Fields, Wrong)) -> NewPage {
    let text = |name: &'static str, label| Field::text(name, label, fields.get(name), &wrong);
    let fields = vec![
        text(NAME, "Name").help("What people call it: key of 2026.").most(LONGEST_NAME as u32),
        Field::text("publicKey", "Public key", public_half(fields), &wrong).kind("area", "off").most(8192).help(
            "Ed25519, P-256 or RSA: PEM that begins with -----BEGIN PUBLIC KEY-----, or a JWK. Never the private half.",
        ),
        own_password(&wrong),
    ];
    new_page(app, visitor, agent, (fields, wrong, false))
}

/// What was typed; a private key is not sent back and forth once more.
fn public_half(fields: &Fields) -> &str {
    let typed = fields.get("publicKey");
    if typed.contains("PRIVATE KEY") || typed.contains("\"d\"") { "" } else { typed }
}

fn rule_page(app: &App, visitor: &Visitor, agent: &Agent, (fields, wrong): (&Fields, Wrong)) -> NewPage {
    let most = LONGEST_VALUE as u32;
    let text = |name: &'static str, label| Field::text(name, label, fields.get(name), &wrong).most(most);
    let fields = vec![
        text(NAME, "Name").help("What people call it: pod in production.").most(LONGEST_NAME as u32),
        text("issuer", "Issuer").help("The tokens' iss. Its keys are fetched from there, over https."),
        text("subject", "Subject").help("The tokens' sub, letter by letter."),
        text("audience", "Audience").help("One of the tokens' aud. Empty: this hub's own address.").optional(),
        text("claims", "Further claims")
            .kind("area", "off")
            .most(20_000)
            .help("One a line, as name=value. A name that begins with / is a JSON Pointer: /kubernetes.io/namespace=lake.")
            .optional(),
        own_password(&wrong),
    ];
    new_page(app, visitor, agent, (fields, wrong, true))
}

fn new_page(
    app: &App,
    visitor: &Visitor,
    agent: &Agent,
    (fields, wrong, is_rule): (Vec<Field>, Wrong, bool),
) -> NewPage {
    let title = if is_rule { "Add a trust rule" } else { "Add a key" };
    NewPage {
        shell: visitor.shell(format!("{title} for {}", agent.name), "agents"),
        id: agent.id.clone(),
        name: agent.name.clone(),
        title,
        lead: if is_rule {
            "Its platform says who the process is, and this hub believes it."
        } else {
            "The agent signs with a key of its own, and this hub knows the public half."
        },
        is_rule,
        hub: app.settings.public_url.clone(),
        client_id: agent.client_id.clone(),
        summary: Summary(wrong),
        fields,
        button: if is_rule { "Add rule" } else { "Add key" },
    }
}

pub(crate) async fn new_key(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&key_page(&app, &visitor, &agent, (&Fields::default(), Wrong::default()))))
}

pub(crate) async fn new_rule(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&rule_page(&app, &visitor, &agent, (&Fields::default(), Wrong::default()))))
}

/// What a refusal means for the form.
fn wrong_of(refused: Refused) -> Result<Wrong, Mishap> {
    if let Refused::Conflict { code: "too_many_credentials", message } = refused {
        return Ok(Wrong::at("", message));
    }
    Wrong::from(refused)
}

/// To the list of what the agent has; or back to the form, which says what is wrong with it.
fn became(
    added: Result<String, Refused>,
    agent_id: &str,
    again: impl FnOnce(Wrong) -> NewPage,
) -> Result<Response, Mishap> {
    match added {
        Ok(_) => Ok(Redirect::to(&format!("/agents/{agent_id}/trust")).into_response()),
        Err(refused) => Ok(with_status(StatusCode::BAD_REQUEST, &again(wrong_of(refused)?))),
    }
}

pub(crate) async fn add_key(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        return Ok(with_status(StatusCode::UNAUTHORIZED, &key_page(&app, &visitor, &agent, (&fields, wrong))));
    }
    let added = app.add_key(&visitor.caller, &id, (fields.get(NAME).trim(), fields.get("publicKey")), None).await;
    became(added, &id, |wrong| key_page(&app, &visitor, &agent, (&fields, wrong)))
}

/// The claims that were typed, a line each.
fn claims(fields: &Fields) -> Result<BTreeMap<String, String>, Refused> {
    let lines = fields.get("claims").lines().map(str::trim).filter(|line| !line.is_empty());
    let claim = |line: &str| {
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| Refused::invalid("claims", format!("must be name=value on each line, not `{line}`")))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    lines.map(claim).collect()
}

pub(crate) async fn add_rule(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        return Ok(with_status(StatusCode::UNAUTHORIZED, &rule_page(&app, &visitor, &agent, (&fields, wrong))));
    }
    let text = |name: &str| fields.get(name).trim().to_owned();
    let added = match claims(&fields) {
        Ok(claims) => {
            let audience = Some(text("audience")).filter(|text| !text.is_empty());
            let rule = NewRule { issuer: text("issuer"), audience, subject: text("subject"), claims };
            app.add_rule(&visitor.caller, &id, (&text(NAME), rule), None).await
        }
        Err(refused) => Err(refused),
    };
    became(added, &id, |wrong| rule_page(&app, &visitor, &agent, (&fields, wrong)))
}

async fn removal_page(
    app: &App,
    visitor: &Visitor,
    (agent, one): (&Agent, &str),
    wrong: Wrong,
) -> Result<(Confirmation, &'static str), Mishap> {
    let all = app.trust(&visitor.caller, &agent.id).await?;
    let ended = all.iter().find(|other| other.id == one).ok_or(Refused::NotFound("the key or rule"))?;
    let kind = ended.means.kind();
    let address = format!("/agents/{}", agent.id);
    let consequences = vec![
        "nobody signs in with it any more, and the tokens that were got with it end at once".to_owned(),
        last_used(ended.last_used_at, app.now()),
    ];
    let title = format!("Remove the {kind} {} of {}", ended.name, agent.name);
    let confirmation = Confirmation {
        shell: visitor.shell(title.clone(), "agents"),
        crumbs: vec![
            ("/agents".into(), "Agents".into()),
            (address.clone(), agent.name.clone()),
            (format!("{address}/trust"), "Sign-in".into()),
        ],
        title,
        lead: "This cannot be undone.",
        consequences,
        password: own_password(&wrong),
        summary: Summary(wrong),
        button: if kind == "key" { "Remove key" } else { "Remove rule" },
    };
    Ok((confirmation, kind))
}

pub(crate) async fn removal(
    State(app): State<Arc<App>>,
    Path((id, one)): Path<(String, String)>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    Ok(page(&removal_page(&app, &visitor, (&agent, &one), Wrong::default()).await?.0))
}

pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Path((id, one)): Path<(String, String)>,
    Sent(visitor, fields): Sent,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    if let Err(wrong) = confirmed(&app, &visitor, &fields).await? {
        let (again, _) = removal_page(&app, &visitor, (&agent, &one), wrong).await?;
        return Ok(with_status(StatusCode::UNAUTHORIZED, &again));
    }
    let (_, kind) = removal_page(&app, &visitor, (&agent, &one), Wrong::default()).await?;
    match app.remove_trust(&visitor.caller, &id, (kind, &one)).await {
        Ok(()) => Ok(Redirect::to(&format!("/agents/{id}/trust")).into_response()),
        Err(Refused::Conflict { code: "last_credential", message }) => {
            let (again, _) = removal_page(&app, &visitor, (&agent, &one), Wrong::at("", message)).await?;
            Ok(with_status(StatusCode::CONFLICT, &again))
        }
        Err(refused) => Err(refused.into()),
    }
}
