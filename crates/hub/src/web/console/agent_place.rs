//! Where an agent runs: how it is started there, what it must be let through to, which processes of it there were, and
//! what it was asked to do.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use millrace_model::Timestamp;
use millrace_protocol::gateway::Platform;
use serde_json::Value;

use super::agent::{Head, head};
use super::json;
use super::page::{Mishap, Shell, page};
use super::pager::Earlier;
use super::revisions::{Asked, COMMANDS, asked};
use super::show::{Badge, Shape, When, filters};
use super::visitor::{Fields, Visitor};
use crate::app::App;
use crate::app::status::AgentStatus;
use crate::db::agents::Agent;
use crate::db::commands::Command;
use crate::db::instances::Instance;
use crate::fault::Refused;
use crate::web::deploy::{self, SignIn};

/// A form of the commands: its word, its name, and whether it is the chosen one.
type Form = (&'static str, &'static str, bool);

#[derive(Template)]
#[template(path = "agent_install.html")]
struct InstallPage {
    shell: Shell,
    head: Head,
    forms: Vec<Form>,
    chosen: &'static str,
    chosen_name: &'static str,
    block: String,
    /// What it signs in with.
    proof: &'static str,
    hub: String,
}

pub(crate) async fn install(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let wanted = Some(query.get("format")).filter(|format| !format.is_empty()).unwrap_or(&agent.deployment);
    let known = deploy::FORMATS.into_iter().find(|(word, _)| *word == wanted);
    let (chosen, chosen_name) = known.ok_or(Refused::NotFound("this form"))?;
    let sign_in = SignIn::of(&app.trust(&visitor.caller, &id).await?, &app.settings.public_url);
    Ok(page(&InstallPage {
        shell: visitor.shell(&agent.name, "agents"),
        head: head(&app, &visitor, &agent, "install").await?,
        forms: deploy::FORMATS.into_iter().map(|(word, name)| (word, name, word == chosen)).collect(),
        chosen,
        chosen_name,
        block: deploy::text(&app.settings, (&agent, &sign_in), chosen).unwrap_or_default(),
        proof: sign_in.word(),
        hub: app.settings.public_url.clone(),
    }))
}

/// A way out that the agent needs.
struct Way {
    host: String,
    port: u16,
    purpose: String,
}

impl Way {
    fn new(host: impl Into<String>, port: u16, purpose: impl Into<String>) -> Self {
        Self { host: host.into(), port, purpose: purpose.into() }
    }
}

#[derive(Template)]
#[template(path = "agent_allowlist.html")]
struct AllowlistPage {
    shell: Shell,
    head: Head,
    ways: Vec<Way>,
    policy: String,
}

/// Host and port of an address.
fn place_of(url: &str) -> (String, u16) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let usual = if scheme == "http" { 80 } else { 443 };
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host.to_owned(), port.parse().unwrap_or(usual)),
        _ => (authority.to_owned(), usual),
    }
}

/// What the agent's cloud asks for beside its own pipeline. What only the reader knows stands in capitals.
fn of_cloud(cloud: &str) -> &'static [(&'static str, &'static str)] {
    match cloud {
        "aws" => &[
            ("secretsmanager.REGION.amazonaws.com", "secrets, where they are kept in AWS Secrets Manager"),
            ("s3.REGION.amazonaws.com", "the lake, where it is in Amazon S3"),
        ],
        "azure" => &[
            ("VAULT.vault.azure.net", "secrets, where they are kept in Azure Key Vault"),
            ("ACCOUNT.blob.core.windows.net", "the lake, where it is in Azure Blob Storage"),
        ],
        _ => &[
            ("secretmanager.googleapis.com", "secrets, where they are kept in Google Secret Manager"),
            ("storage.googleapis.com", "the lake, where it is in Google Cloud Storage"),
        ],
    }
}

fn ways(app: &App, agent: &Agent, body: &Value) -> Vec<Way> {
    let (hub, port) = place_of(&app.settings.public_url);
    let registry = app.settings.agent_image.split('/').next().unwrap_or_default();
    let mut ways = vec![Way::new(hub, port, "this hub: signing in, reports, commands")];
    if registry.contains('.') || registry.contains(':') {
        let (host, port) = place_of(registry);
        ways.push(Way::new(host, port, "the image, when it is started or renewed"));
    }
    let connection = json::at(body, "/streamingSource/connection");
    let port = json::at(connection, "/port").as_u64().and_then(|port| u16::try_from(port).ok());
    if let (Some(host), Some(port)) = (json::at(connection, "/host").as_str(), port) {
        ways.push(Way::new(host, port, "the source of its pipeline"));
    }
    if let Some(url) = json::at(body, "/streamingTarget/endpoint").as_str() {
        let (host, port) = place_of(url);
        ways.push(Way::new(host, port, "the target of its pipeline"));
    }
    ways.extend(of_cloud(&agent.cloud_provider).iter().map(|(host, purpose)| Way::new(*host, 443, *purpose)));
    ways
}

/// A policy file that lets the pipeline run and nothing else.
fn policy(body: &Value) -> String {
    let text = |path: &str| json::at(body, path).as_str().map(str::to_owned);
    let target = |name: &str| text(&format!("/streamingTarget/{name}"));
    let endpoint = target("endpoint").map(|url| place_of(&url).0);
    let container = target("container").map(|container| match target("accountName") {
        Some(account) => format!("{account}/{container}"),
        None => container,
    });
    let place = target("path").or_else(|| target("bucket")).or(container);
    let key = target("accountKey/secretName");
    let lists = [
        ("allowedHosts", vec![text("/streamingSource/connection/host"), endpoint], "DATABASE_HOST"),
        (
            "allowedSecrets",
            vec![text("/streamingSource/connection/password/secretName"), key, target("roleArn")],
            "SECRET_NAME",
        ),
        ("allowedTargets", vec![place], "FOLDER_OR_BUCKET"),
    ];
    let lines = lists.map(|(name, values, unknown)| {
        let mut values: Vec<String> = values.into_iter().flatten().collect();
        values.dedup();
        if values.is_empty() {
            values.push(unknown.to_owned());
        }
        let items: String = values.into_iter().map(|value| format!("- {}\n", Value::String(value))).collect();
        format!("{name}:\n{items}")
    });
    lines.concat()
}

pub(crate) async fn allowlist(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let all = app.all_pipelines(&visitor.caller).await?;
    let own = all.iter().find(|placed| placed.pipeline.agent_id == agent.id);
    let body: Value = own.and_then(|own| serde_json::from_str(&own.pipeline.body).ok()).unwrap_or_default();
    Ok(page(&AllowlistPage {
        shell: visitor.shell(&agent.name, "agents"),
        head: head(&app, &visitor, &agent, "allowlist").await?,
        ways: ways(&app, &agent, &body),
        policy: policy(&body),
    }))
}

/// A process as a row.
struct Row {
    badge: Badge,
    said: String,
    host: String,
    system: String,
    version: String,
    began: When,
    heard: When,
    instance: String,
}

#[derive(Template)]
#[template(path = "agent_instances.html")]
struct InstancesPage {
    shell: Shell,
    head: Head,
    rows: Vec<Row>,
}

fn row(agent: &Agent, status: AgentStatus, one: Instance, now: Timestamp) -> Row {
    let has_lease = agent.instance.as_deref() == Some(one.id.as_str());
    let renewed = agent.lease.map(|(renewed_at, _)| renewed_at).filter(|_| has_lease);
    let (badge, said) = match (&one.goodbye, has_lease) {
        (Some((_, reason)), _) => (Badge::new(Shape::Square, "quiet", "Ended"), format!("said goodbye: {reason}")),
        (None, true) if status == AgentStatus::Running => {
            (Badge::new(Shape::Dot, "good", "Has the lease"), String::new())
        }
        (None, true) => (Badge::new(Shape::Half, "doubt", "Silent"), "went without a goodbye".to_owned()),
        (None, false) if one.refused_at.is_some() => (
            Badge::new(Shape::Triangle, "bad", "Refused"),
            "asked for the lease while another process had it".to_owned(),
        ),
        (None, false) => (Badge::new(Shape::Square, "quiet", "Ended"), "went without a goodbye".to_owned()),
    };
    let platform: Platform = serde_json::from_str(&one.platform).unwrap_or_default();
    let system = [platform.os, platform.arch].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Row {
        badge,
        said,
        host: platform.host.unwrap_or_default(),
        system,
        version: one.version,
        began: When::new(one.first_seen_at, now),
        heard: When::new(renewed.unwrap_or(one.last_seen_at), now),
        instance: one.id,
    }
}

pub(crate) async fn instances(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let (now, status) = (app.now(), app.agent_status(&agent));
    let all = app.instances(&agent).await?;
    Ok(page(&InstancesPage {
        shell: visitor.shell(&agent.name, "agents"),
        head: head(&app, &visitor, &agent, "instances").await?,
        rows: all.into_iter().map(|one| row(&agent, status, one, now)).collect(),
    }))
}

#[derive(Template)]
#[template(path = "agent_commands.html")]
struct CommandsPage {
    shell: Shell,
    head: Head,
    rows: Vec<Asked>,
    earlier: Earlier,
}

pub(crate) async fn commands(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    visitor: Visitor,
    query: Fields,
) -> Result<Response, Mishap> {
    let agent = app.agent(&visitor.caller, &id).await?;
    let now = app.now();
    let names = app.names(&visitor.caller).await?;
    let all = app.agent_commands(&agent, &Earlier::part(&query, COMMANDS)).await?;
    let by = |command: &Command| names.get(&command.issued_by).unwrap_or(&command.issued_by).clone();
    Ok(page(&CommandsPage {
        shell: visitor.shell(&agent.name, "agents"),
        head: head(&app, &visitor, &agent, "commands").await?,
        earlier: Earlier::new(&query, all.next.as_ref()),
        rows: all.rows.into_iter().map(|command| (by(&command), command)).map(|(by, it)| asked(&it, by, now)).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{place_of, policy};

    #[test]
    fn a_policy_has_all_that_the_pipeline_needs() {
        let source = json!({"connection": {"host": "db.internal", "password": {"secretName": "shop"}}});
        let target = json!({"type": "abs", "container": "lake", "accountName": "acme",
            "accountKey": {"secretName": "key"}, "endpoint": "https://acme.privatelink.example:8443/acme"});
        assert_eq!(
            policy(&json!({"streamingSource": source, "streamingTarget": target})),
            "allowedHosts:\n- \"db.internal\"\n- \"acme.privatelink.example\"\n\
             allowedSecrets:\n- \"shop\"\n- \"key\"\nallowedTargets:\n- \"acme/lake\"\n"
        );
        let target = json!({"type": "s3", "bucket": "lake", "roleArn": "arn:aws:iam::1:role/lake"});
        assert_eq!(
            policy(&json!({"streamingSource": source, "streamingTarget": target})),
            "allowedHosts:\n- \"db.internal\"\nallowedSecrets:\n- \"shop\"\n- \"arn:aws:iam::1:role/lake\"\n\
             allowedTargets:\n- \"lake\"\n"
        );
        let unknown = "allowedHosts:\n- \"DATABASE_HOST\"\nallowedSecrets:\n- \"SECRET_NAME\"\n\
                       allowedTargets:\n- \"FOLDER_OR_BUCKET\"\n";
        assert_eq!(policy(&json!({})), unknown);
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for (url, host, port) in [
            ("https://hub.example.com", "hub.example.com", 443),
            ("https://hub.example.com:8443/console", "hub.example.com", 8443),
            ("http://127.0.0.1:8080", "127.0.0.1", 8080),
            ("https://[::1]", "[::1]", 443),
            ("ghcr.io", "ghcr.io", 443),
        ] {
            assert_eq!(place_of(url), (host.to_owned(), port), "{url}");
        }
    }
}
