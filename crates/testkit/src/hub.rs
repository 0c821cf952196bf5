//! A real hub process, its API as any program would use it, and agents that sign in to it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::fault::{Fault, Result};
use crate::postgres::free_port;
use crate::process::{Invocation, Millrace};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// E-mail address and password of every hub's owner.
pub const OWNER: (&str, &str) = ("owner@example.com", "correct horse battery staple");

/// A running hub with one account, one project and one API client.
pub struct Hub {
    /// Its address, without a slash at the end.
    pub url: String,
    /// The account's project.
    pub project: String,
    program: PathBuf,
    folder: PathBuf,
    account: String,
    client_id: String,
    client_secret: String,
    port: u16,
    process: Option<Millrace>,
    http: Client,
    variables: Vec<(String, String)>,
    /// Those of each agent whose process was asked for.
    credentials: Mutex<HashMap<String, (String, String)>>,
}

impl Hub {
    /// Sets a hub up in `folder` and starts it.
    pub fn start(program: &Path, folder: &Path) -> Result<Self> {
        Self::with(program, folder, &[])
    }

    /// The same with more environment.
    pub fn with(program: &Path, folder: &Path, variables: &[(&str, &str)]) -> Result<Self> {
        let _set_already = rustls::crypto::ring::default_provider().install_default();
        let port = free_port()?;
        let password = folder.join("password");
        std::fs::write(&password, format!("{}\n", OWNER.1)).map_err(Fault::io(&password))?;
        let data = folder.join("hub");
        let set_up = Invocation::of(program, ["--format", "json", "hub", "bootstrap", "--data"])
            .argument(&data)
            .argument("--owner-email")
            .argument(OWNER.0)
            .argument("--owner-password-file")
            .argument(&password);
        let names = ["--account", "Acme", "--project", "Main", "--api-client", "tests"];
        let set_up = variables.iter().fold(set_up, |set_up, (name, value)| set_up.env(name, value));
        let set_up = names.iter().fold(set_up, Invocation::argument).json(PATIENCE)?;
        let text = |name: &str| set_up.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let http = Client::builder().timeout(PATIENCE).build().map_err(of_http)?;
        let mut hub = Self {
            url: format!("http://127.0.0.1:{port}"),
            project: text("projectId"),
            program: program.to_owned(),
            folder: folder.to_owned(),
            account: text("accountId"),
            client_id: text("clientId"),
            client_secret: text("clientSecret"),
            port,
            process: None,
            http,
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            credentials: Mutex::default(),
        };
        hub.resume()?;
        Ok(hub)
    }

    /// Another process of the same hub, at another port; for a hub on a PostgreSQL server, which its variables name.
    pub fn beside(&self) -> Result<Self> {
        let port = free_port()?;
        let mut other = Self {
            url: format!("http://127.0.0.1:{port}"),
            project: self.project.clone(),
            program: self.program.clone(),
            folder: self.folder.clone(),
            account: self.account.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            port,
            process: None,
            http: self.http.clone(),
            variables: self.variables.clone(),
            credentials: Mutex::default(),
        };
        other.resume()?;
        Ok(other)
    }

    /// Starts it again where it was.
    pub fn resume(&mut self) -> Result<()> {
        let hub =
            Invocation::of(&self.program, ["--format", "json", "hub", "--data"]).argument(self.folder.join("hub"));
        let hub = self.variables.iter().fold(hub, |hub, (name, value)| hub.env(name, value));
        let mut process = hub.argument("--listen").argument(format!("127.0.0.1:{}", self.port)).start()?;
        process.wait_for("listening", PATIENCE)?;
        self.process = Some(process);
        Ok(())
    }

    /// Its one project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Where it listens on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Id and secret of an agent, as they were when its process was asked for.
    pub fn credentials(&self, id: &str) -> Option<(String, String)> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The hub's folder: database and key.
    pub fn storage(&self) -> PathBuf {
        self.folder.join("hub")
    }

    /// The hub's log so far.
    pub fn log(&self) -> Vec<crate::process::Line> {
        self.process.as_ref().map(Millrace::lines).unwrap_or_default()
    }

    /// Kills it, as a machine that goes away would.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Stops it as an operator would.
    pub fn stop(mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            process.stop(PATIENCE)?;
        }
        Ok(())
    }

    /// A new access token of the API.
    pub fn token(&self) -> Result<String> {
        self.token_of(&self.client_id, &self.client_secret)
    }

    /// A new access token of a client or an agent.
    pub(crate) fn token_of(&self, id: &str, secret: &str) -> Result<String> {
        let form = [("grant_type", "client_credentials")];
        let request = self.http.post(format!("{}/oauth/dpc/token", self.url));
        let answer = request.basic_auth(id, Some(secret)).form(&form).send().map_err(of_http)?;
        let body: Value = answer.json().map_err(of_http)?;
        Ok(body.get("access_token").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// A call of the API with a new token, as automation makes it: status and body.
    #[expect(clippy::needless_pass_by_value, reason = "callers name a constant")]
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        self.call_with(&self.token()?, &method, path, body)
    }

    /// A call with a token that is there already.
    pub(crate) fn call_with(
        &self,
        token: &str,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let request = self.http.request(method.clone(), format!("{}/dpc/v1{path}", self.url)).bearer_auth(token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().map_err(of_http)?;
        let status = answer.status().as_u16();
        let text = answer.text().map_err(of_http)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// A call that must end with `status`.
    #[expect(clippy::needless_pass_by_value, reason = "callers name a constant")]
    pub fn expect(&self, status: u16, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let (given, answer) = self.call(method.clone(), path, body)?;
        if given == status {
            return Ok(answer);
        }
        Err(Fault::Program {
            program: format!("{method} {path}"),
            status: format!("{given} in place of {status}"),
            stderr: answer.to_string(),
        })
    }

    /// A call that is taken and done later: the path of its command.
    #[expect(clippy::needless_pass_by_value, reason = "callers name a constant")]
    pub fn order(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String> {
        let request = self.http.request(method.clone(), format!("{}/dpc/v1{path}", self.url));
        let request = request.bearer_auth(self.token()?);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().map_err(of_http)?;
        let status = answer.status().as_u16();
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.and_then(|at| at.strip_prefix("/dpc/v1")).map(str::to_owned);
        match location {
            Some(location) if status == 202 || status == 204 => Ok(location),
            _ => Err(Fault::Program {
                program: format!("{method} {path}"),
                status: format!("{status} without a command"),
                stderr: answer.text().map_err(of_http)?,
            }),
        }
    }

    /// The owner signs in to the console: the cookie.
    pub fn sign_in(&self) -> Result<String> {
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().map_err(of_http)?;
        let form = [("email", OWNER.0), ("password", OWNER.1)];
        let request = http.post(format!("{}/sign-in", self.url)).header("sec-fetch-site", "same-origin").form(&form);
        let answer = request.send().map_err(of_http)?;
        let set = answer.headers().get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(set.split(';').next().unwrap_or_default().to_owned())
    }

    /// Whatever stands at `path`, asked for with a token and a cookie: status and text.
    pub fn read(&self, path: &str, (token, cookie): (&str, &str)) -> Result<(u16, String)> {
        let request = self.http.get(format!("{}{path}", self.url)).bearer_auth(token).header("cookie", cookie);
        let answer = request.send().map_err(of_http)?;
        Ok((answer.status().as_u16(), answer.text().map_err(of_http)?))
    }

    /// The secret of its API client.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// A new agent: its id.
    pub fn add_agent(&self, name: &str) -> Result<String> {
        let body = json!({"name": name, "deployment": "fargate", "cloudProvider": "aws", "agentType": "streaming"});
        let created = self.expect(201, Method::POST, "/agents", Some(&body))?;
        Ok(created.get("agentId").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Says what an agent is for.
    pub fn describe_agent(&self, id: &str, description: &str) -> Result<()> {
        let body = json!({"description": description});
        self.expect(202, Method::PATCH, &format!("/agents/{id}"), Some(&body)).map(drop)
    }

    /// The process of that agent, not started: what its page in the console shows as environment.
    pub fn agent(&self, id: &str, state: &Path) -> Result<Invocation> {
        let credentials = self.expect(200, Method::GET, &format!("/agents/{id}/credentials"), None)?;
        let text = |name: &str| credentials.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let known = (text("clientId"), text("clientSecret"));
        let invocation = self.invocation(id, &known, state);
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), known);
        Ok(invocation)
    }

    /// The same while the hub is away, with the credentials that were asked for before.
    pub fn agent_again(&self, id: &str, state: &Path) -> Result<Invocation> {
        let known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let known = known.ok_or_else(|| Fault::Unexpected(format!("agent {id} was not started before")))?;
        Ok(self.invocation(id, &known, state))
    }

    fn invocation(&self, id: &str, (client_id, client_secret): &(String, String), state: &Path) -> Invocation {
        Invocation::of(&self.program, ["agent"])
            .env("HUB_URL", &self.url)
            .env("ACCOUNT_ID", &self.account)
            .env("AGENT_ID", id)
            .env("OAUTH_CLIENT_ID", client_id)
            .env("OAUTH_CLIENT_SECRET", client_secret)
            .env("STATE_DIR", &state.display().to_string())
            // As in a container whose other folders cannot be written to.
            .env("TMPDIR", "/nowhere")
            .env("LISTEN", "127.0.0.1:0")
    }

    /// `millrace --format json …` as a client of this hub's API.
    pub fn client(&self, arguments: &[&str]) -> Invocation {
        let all = ["--format", "json"].into_iter().chain(arguments.iter().copied());
        Invocation::of(&self.program, all)
            .env("HUB_URL", &self.url)
            .env("API_CLIENT_ID", &self.client_id)
            .env("API_CLIENT_SECRET", &self.client_secret)
            .env("PROJECT_ID", &self.project)
    }

    /// Creates a pipeline: its path in the API.
    pub fn add_pipeline(&self, body: &Value) -> Result<String> {
        let pipelines = format!("/projects/{}/streaming-pipelines", self.project);
        let created = self.expect(201, Method::POST, &pipelines, Some(body))?;
        let id = created.get("streamingPipelineId").and_then(Value::as_str).unwrap_or_default();
        Ok(format!("{pipelines}/{id}"))
    }

    /// `START` or `STOP`.
    pub fn command(&self, pipeline: &str, command: &str) -> Result<()> {
        self.expect(202, Method::POST, &format!("{pipeline}/commands"), Some(&json!({"command": command}))).map(drop)
    }

    /// Waits until the agent has that status; how long it took.
    pub fn wait_for_agent(&self, id: &str, status: &str, patience: Duration) -> Result<Duration> {
        wait_until(&format!("agent {status}"), patience, || {
            let agent = self.expect(200, Method::GET, &format!("/agents/{id}"), None)?;
            Ok((agent.get("agentStatus").and_then(Value::as_str) == Some(status), agent))
        })
    }

    /// Waits until what the API says of the pipeline is as `wanted` says; what it said.
    pub fn wait_for_status(
        &self,
        path: &str,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let last = std::cell::RefCell::new(Value::Null);
        wait_until(what, patience, || {
            let seen = self.status(path)?;
            let there = wanted(&seen);
            last.replace(seen.clone());
            Ok((there, seen))
        })?;
        Ok(last.into_inner())
    }

    /// Waits until the pipeline has that status; how long it took.
    pub fn wait_for_pipeline(&self, path: &str, status: &str, patience: Duration) -> Result<Duration> {
        wait_until(&format!("pipeline {status}"), patience, || {
            let seen = self.status(path)?;
            Ok((seen.get("status").and_then(Value::as_str) == Some(status), seen))
        })
    }

    /// What the API says of the pipeline's status.
    pub fn status(&self, path: &str) -> Result<Value> {
        self.expect(200, Method::GET, &format!("{path}/status"), None)
    }
}

fn wait_until(what: &str, patience: Duration, look: impl Fn() -> Result<(bool, Value)>) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let (there, seen) = look()?;
        if there {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > patience {
            return Err(Fault::Late { what: what.to_owned(), waited: patience, seen: seen.to_string() });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn of_http(error: reqwest::Error) -> Fault {
    Fault::Program { program: "HTTP".into(), status: "failed".into(), stderr: error.to_string() }
}
