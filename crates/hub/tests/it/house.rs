//! A hub on a free port with one account, and clients of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_hub::{Bootstrap, Bootstrapped, Hub, Settings, bootstrap};
use millrace_model::{Clock, Timestamp};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The owner of every hub here.
pub const OWNER: &str = "owner@example.com";
pub const PASSWORD: &str = "correct horse battery staple";

/// Wall-clock time.
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        Timestamp(i64::try_from(since.as_micros()).expect("the clock is before the year 294276"))
    }
}

/// A running hub.
pub struct House {
    pub url: String,
    pub set_up: Bootstrapped,
    pub http: Client,
    token: String,
    _stop: oneshot::Sender<()>,
    _served: JoinHandle<()>,
    _folder: TempDir,
}

impl House {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let settings = Settings::new("127.0.0.1:0", folder.path());
        Self::with(settings, folder).await
    }

    pub async fn with(settings: Settings, folder: TempDir) -> Self {
        let asked = Bootstrap {
            account: "Acme".into(),
            project: "Main".into(),
            api_client: "tests".into(),
            owner: Some((OWNER.into(), PASSWORD.into())),
        };
        let set_up = bootstrap(settings.clone(), Arc::new(WallClock), asked).await.expect("an empty hub is set up");
        let hub = Hub::open(settings, Arc::new(WallClock)).await.expect("the hub opens");
        let url = format!("http://{}", hub.address().expect("the hub listens"));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            hub.serve(async { drop(stopped.await) }).await.expect("the hub serves");
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(Duration::from_secs(30)).build().expect("a client can be made");
        let mut house = Self { url, set_up, http, token: String::new(), _stop: stop, _served: served, _folder: folder };
        house.token = house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await;
        house
    }

    /// An access token.
    pub async fn token_of(&self, id: &str, secret: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("audience", "anything")];
        let request = self.http.post(format!("{}/oauth/dpc/token", self.url)).basic_auth(id, Some(secret)).form(&form);
        let answer = request.send().await.expect("the hub answers");
        assert_eq!(answer.status(), StatusCode::OK);
        let body: Value = answer.json().await.expect("a token is JSON");
        body["access_token"].as_str().expect("there is a token").to_owned()
    }

    /// A call of the API.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.http.request(method, format!("{}/dpc/v1{path}", self.url)).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.expect("the hub answers")
    }

    /// A call that must end with `status`, and its body.
    pub async fn expect(&self, status: u16, method: Method, path: &str, body: Option<Value>) -> Value {
        let answer = self.call(method.clone(), path, body).await;
        let given = answer.status().as_u16();
        let text = answer.text().await.expect("the answer can be read");
        assert_eq!(given, status, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub fn pipelines(&self) -> String {
        format!("/projects/{}/streaming-pipelines", self.set_up.project_id)
    }

    /// A new agent, and the token that its process gets.
    pub async fn agent(&self, name: &str) -> (String, String) {
        let body = json!({"name": name, "deployment": "fargate", "cloudProvider": "aws", "agentType": "streaming"});
        let created = self.expect(201, Method::POST, "/agents", Some(body)).await;
        let id = created["agentId"].as_str().expect("an agent has an id").to_owned();
        let credentials = self.expect(200, Method::GET, &format!("/agents/{id}/credentials"), None).await;
        let text = |name: &str| credentials[name].as_str().expect("credentials are texts").to_owned();
        let token = self.token_of(&text("clientId"), &text("clientSecret")).await;
        (id, token)
    }

    /// A call of the gateway.
    pub async fn gateway(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}/agent/v1/{path}", self.url)).bearer_auth(token).json(&body);
        let answer = request.send().await.expect("the hub answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("the answer can be read");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

/// A pipeline as automation sends it.
pub fn pipeline(name: &str, agent_id: &str) -> Value {
    json!({
        "name": name,
        "agentId": agent_id,
        "streamingSource": {
            "type": "postgres",
            "connection": {"host": "127.0.0.1", "port": 5432, "database": "shop", "username": "millrace",
                "password": {"secretType": "env", "secretName": "SHOP_PASSWORD"}},
            "tables": [{"schema": "public", "table": "orders"}],
        },
        "streamingTarget": {"type": "local", "path": "/tmp/lake", "prefix": "", "format": "parquet", "layout": "flat"},
    })
}
