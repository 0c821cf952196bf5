//! `millrace agents …`: the agents of a hub, through its API.

#![expect(clippy::indexing_slicing, reason = "JSON answers null for what it lacks")]

use reqwest::Method;
use serde_json::{Value, json};

use super::DONE;
use crate::api::Api;
use crate::args::{AgentsArguments, AgentsCommand};
use crate::console::Console;
use crate::fault::Failure;
use crate::shown::{Side, aligned, counted};

/// Does what is asked, and prints what the hub answers.
pub(crate) async fn agents(arguments: AgentsArguments, console: &Console) -> Result<u8, Failure> {
    let api = Api::sign_in(&arguments.api).await?;
    match arguments.command {
        AgentsCommand::List => {
            let all = api.all("/agents").await?;
            console.result(&json!({"results": all}), |_, _| listed(&all))?;
        }
        AgentsCommand::Create { name, cloud_provider, deployment, description } => {
            let body = json!({"name": name, "description": description, "cloudProvider": cloud_provider,
                "deployment": deployment, "agentType": "streaming"});
            let created = api.call(Method::POST, "/agents", Some(&body)).await?;
            console.result(&created, |created, _| {
                format!("created {}", created["agentId"].as_str().unwrap_or_default())
            })?;
        }
        AgentsCommand::Describe { agent } => {
            let agent = api.find("/agents", "agentId", &agent).await?;
            console.result(&agent, |agent, _| format!("{agent:#}"))?;
        }
        AgentsCommand::Credentials { agent } => {
            let agent = api.find("/agents", "agentId", &agent).await?;
            let path = format!("/agents/{}/credentials", agent["agentId"].as_str().unwrap_or_default());
            let credentials = api.call(Method::GET, &path, None).await?;
            console.result(&credentials, |credentials, _| {
                let text = |name: &str| credentials[name].as_str().unwrap_or_default();
                format!("OAUTH_CLIENT_ID={}\nOAUTH_CLIENT_SECRET={}", text("clientId"), text("clientSecret"))
            })?;
        }
        AgentsCommand::Delete { agent, force, yes } => {
            let agent = api.find("/agents", "agentId", &agent).await?;
            let name = agent["name"].as_str().unwrap_or_default();
            if !yes {
                console.ask(&format!("The agent `{name}` is removed for good; what runs in the cloud stays there."))?;
            }
            let force = if force { "?force=true" } else { "" };
            let path = format!("/agents/{}{force}", agent["agentId"].as_str().unwrap_or_default());
            api.call(Method::DELETE, &path, None).await?;
            console.result(&json!({"deleted": agent["agentId"]}), |_, _| format!("removed {name}"))?;
        }
    }
    Ok(DONE)
}

fn listed(agents: &[Value]) -> String {
    let mut rows = vec![["name", "status", "platform", "last seen", "id"].map(str::to_owned).to_vec()];
    for agent in agents {
        let text = |name: &str| agent[name].as_str().unwrap_or("–").to_owned();
        let platform = format!("{} / {}", text("cloudProvider"), text("deployment"));
        rows.push(vec![text("name"), text("agentStatus"), platform, text("lastSeenAt"), text("agentId")]);
    }
    let mut lines = aligned(&rows, &[Side::Left; 5]);
    lines.push(format!("\n{}", counted(agents.len() as u64, "agent")));
    lines.join("\n")
}
