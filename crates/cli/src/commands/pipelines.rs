//! `millrace pipelines …`: the pipelines of a hub's project, through its API.

#![expect(clippy::indexing_slicing, reason = "JSON answers null for what it lacks")]

use std::path::Path;

use millrace_model::{Fault, Refusal};
use millrace_protocol::{FileBody, Notation, file_body};
use reqwest::Method;
use serde_json::{Value, json};

use super::{DONE, variable};
use crate::api::Api;
use crate::args::{PipelinesArguments, PipelinesCommand};
use crate::console::Console;
use crate::fault::{Cause, Failure};
use crate::shown::{Side, aligned, counted};

const ID: &str = "streamingPipelineId";

/// Does what is asked, and prints what the hub answers.
pub(crate) async fn pipelines(arguments: PipelinesArguments, console: &Console) -> Result<u8, Failure> {
    let api = Api::sign_in(&arguments.api).await?;
    if let PipelinesCommand::Apply { file, agent, start } = arguments.command {
        return apply(&api, arguments.project, (&file, agent.as_deref(), start), console).await;
    }
    let root = root(arguments.project.or_else(|| variable("PROJECT_ID")))?;
    let asked = match &arguments.command {
        PipelinesCommand::List => {
            let all = api.all(&root).await?;
            let mut with_status = Vec::new();
            for pipeline in all {
                let path = format!("{root}/{}/status", text(&pipeline, ID));
                let status = api.call(Method::GET, &path, None).await?;
                with_status.push((pipeline, status));
            }
            let json: Vec<Value> =
                with_status.iter().map(|(pipeline, status)| json!({"pipeline": pipeline, "status": status})).collect();
            console.result(&json!({"results": json}), |_, _| listed(&with_status))?;
            return Ok(DONE);
        }
        PipelinesCommand::Describe { pipeline } => {
            let pipeline = api.find(&root, ID, pipeline).await?;
            let status = api.call(Method::GET, &format!("{root}/{}/status", text(&pipeline, ID)), None).await?;
            console.result(&json!({"pipeline": pipeline, "status": status}), |result, _| format!("{result:#}"))?;
            return Ok(DONE);
        }
        PipelinesCommand::Start { pipeline } => (pipeline, json!({"command": "START"}), "started"),
        PipelinesCommand::Stop { pipeline } => (pipeline, json!({"command": "STOP"}), "stopped"),
        PipelinesCommand::Restart { pipeline, tables, yes } => {
            if !yes {
                console.ask("Earlier files of the tables leave the lake, and the tables are read anew.")?;
            }
            let mut command = json!({"command": "RESTART"});
            if let Some(tables) = tables {
                command["tables"] = json!(tables);
            }
            (pipeline, command, "restarted")
        }
        PipelinesCommand::Delete { pipeline, cleanup, yes } => {
            let found = api.find(&root, ID, pipeline).await?;
            if !yes {
                console.ask(&format!("The pipeline `{}` is deleted; its lake stays.", text(&found, "name")))?;
            }
            let cleanup = if *cleanup { "?cleanup=true" } else { "" };
            api.call(Method::DELETE, &format!("{root}/{}{cleanup}", text(&found, ID)), None).await?;
            console.result(&json!({"deleted": found[ID]}), |_, _| format!("deleted {}", text(&found, "name")))?;
            return Ok(DONE);
        }
        PipelinesCommand::Apply { .. } => return Ok(DONE),
    };
    let (wanted, command, done) = asked;
    let pipeline = api.find(&root, ID, wanted).await?;
    api.call(Method::POST, &format!("{root}/{}/commands", text(&pipeline, ID)), Some(&command)).await?;
    console.result(&json!({"pipeline": pipeline[ID], "command": command["command"]}), |_, _| {
        format!("asked: {} is to be {done}", text(&pipeline, "name"))
    })?;
    Ok(DONE)
}

/// Creates the pipeline of a file, or replaces the one of its name. What stands in the file goes before the environment, and
/// what is said on the command line goes before both; an agent that neither names stays the one that the pipeline has.
async fn apply(
    api: &Api,
    project: Option<String>,
    (file, agent, start): (&Path, Option<&str>, bool),
    console: &Console,
) -> Result<u8, Failure> {
    let written =
        std::fs::read_to_string(file).map_err(|error| Cause::FileUnreadable { file: file.to_owned(), error })?;
    let json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let notation = if json { Notation::Json } else { Notation::Yaml };
    let FileBody { project_id, mut body } =
        file_body(&written, notation).map_err(|problems| Failure::File { file: file.to_owned(), problems })?;
    let root = root(project.or(project_id).or_else(|| variable("PROJECT_ID")))?;
    if let Some(agent) = agent {
        let agent = api.find("/agents", "agentId", agent).await?;
        body.insert("agentId".into(), agent["agentId"].clone());
    }
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let there = api.all(&root).await?.into_iter().find(|pipeline| pipeline["name"] == name);
    let agent = body.get("agentId").or_else(|| there.as_ref()?.get("agentId")).cloned().ok_or_else(|| {
        let message = format!("nothing says which agent runs `{name}`, and it is not there yet");
        let cure = "give it by --agent, its name or its id, or as `agentId` in the file";
        Failure::Fault(Fault::refused("CL-011", Refusal::Spec, message, cure))
    })?;
    body.insert("agentId".into(), agent);
    let body = Value::Object(body);
    let (pipeline, done) = match there {
        Some(there) => (api.call(Method::PUT, &format!("{root}/{}", text(&there, ID)), Some(&body)).await?, "replaced"),
        None => (api.call(Method::POST, &root, Some(&body)).await?, "created"),
    };
    if start {
        let path = format!("{root}/{}/commands", text(&pipeline, ID));
        api.call(Method::POST, &path, Some(&json!({"command": "START"}))).await?;
    }
    console.result(&pipeline, |pipeline, _| {
        let started = if start { " and started" } else { "" };
        format!("{done}{started} {name} ({})", text(pipeline, ID))
    })?;
    Ok(DONE)
}

fn root(project: Option<String>) -> Result<String, Failure> {
    let project = project.ok_or_else(|| {
        let cure = "give it by --project or PROJECT_ID, or as `projectId` in the file";
        Failure::Fault(Fault::refused("CL-011", Refusal::Spec, "the project is not given", cure))
    })?;
    Ok(format!("/projects/{project}/streaming-pipelines"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn listed(pipelines: &[(Value, Value)]) -> String {
    let mut rows = vec![["name", "status", "why", "id"].map(str::to_owned).to_vec()];
    for (pipeline, status) in pipelines {
        let why = text(&status["reason"], "message").to_owned();
        rows.push(vec![text(pipeline, "name").into(), text(status, "status").into(), why, text(pipeline, ID).into()]);
    }
    let mut lines = aligned(&rows, &[Side::Left; 4]);
    lines.push(format!("\n{}", counted(pipelines.len() as u64, "pipeline")));
    lines.join("\n")
}
