//! A hub on a free port with one account, on SQLite or on PostgreSQL, and clients of it.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_hub::{Bootstrap, Bootstrapped, Hub, Place, Settings, bootstrap};
use millrace_model::{Clock, Timestamp};
use millrace_testkit::postgres::Server;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Each of these tests twice: on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name($crate::house::House::open($crate::house::Kind::Sqlite).await).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name($crate::house::House::open($crate::house::Kind::Postgres).await).await; })*
        }
    };
}
pub(crate) use on_both_databases;
/// The owner of every hub here.
pub(crate) const OWNER: &str = "owner@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Which database a hub has.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// Wall-clock time, and so much more of it as a test wants.
#[derive(Default)]
pub(crate) struct TestClock {
    ahead: AtomicI64,
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).expect("tests do not wait that long");
        self.ahead.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn set_back(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).expect("tests do not go back that far");
        self.ahead.fetch_sub(micros, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        let wall = i64::try_from(since.as_micros()).expect("the clock is before the year 294276");
        Timestamp(wall + self.ahead.load(Ordering::Relaxed))
    }
}

/// A running hub.
pub(crate) struct House {
    pub(crate) url: String,
    pub(crate) set_up: Bootstrapped,
    pub(crate) http: Client,
    pub(crate) clock: Arc<TestClock>,
    /// The owner's; a test may put another one in its place.
    pub(crate) token: Mutex<String>,
    pub(crate) settings: Settings,
    /// Where its metrics are.
    pub(crate) metrics: Option<std::net::SocketAddr>,
    _stop: oneshot::Sender<()>,
    _served: JoinHandle<()>,
    folder: TempDir,
}

/// An API client of an account.
pub(crate) struct Stranger {
    pub(crate) account: String,
    pub(crate) project: String,
    pub(crate) token: String,
}

/// A database of its own on the server that all tests share.
fn postgres_database() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(|| Server::start().expect("a PostgreSQL starts"));
    let name = format!("hub{}", COUNT.fetch_add(1, Ordering::Relaxed));
    server.create_database(&name).expect("a database can be made");
    format!("postgres://postgres@127.0.0.1:{}/{name}", server.port())
}

impl House {
    pub(crate) async fn open(kind: Kind) -> Self {
        Self::set(kind, |_| {}).await
    }

    /// The same, with settings of a test's own.
    pub(crate) async fn set(kind: Kind, change: impl FnOnce(&mut Settings)) -> Self {
        let (mut settings, folder) = Self::settings(kind).await;
        change(&mut settings);
        Self::with(settings, folder).await
    }

    async fn settings(kind: Kind) -> (Settings, TempDir) {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut settings = Settings::new("127.0.0.1:0", folder.path());
        if let Kind::Postgres = kind {
            let made = tokio::task::spawn_blocking(postgres_database).await;
            settings.database_url = Some(made.expect("a database is made"));
        }
        (settings, folder)
    }

    /// Another hub process on the same database: its address. It ends with the test.
    pub(crate) async fn another(&self) -> String {
        let hub = Hub::open(self.settings.clone(), self.clock.clone()).await.expect("a second hub opens");
        let url = format!("http://{}", hub.address().expect("it listens"));
        tokio::spawn(hub.serve(std::future::pending()));
        url
    }

    /// Asks again and again until `wanted` is true of the answer.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let seen = self.get(path).await;
            if wanted(&seen) {
                return seen;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{path}: {seen}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn with(settings: Settings, folder: TempDir) -> Self {
        let clock = Arc::new(TestClock::default());
        let asked = Bootstrap {
            account: "Acme".into(),
            project: "Main".into(),
            api_client: "tests".into(),
            owner: Some((OWNER.into(), PASSWORD.into())),
        };
        let set_up = bootstrap(settings.clone(), clock.clone(), asked).await.expect("an empty hub is set up");
        let hub = Hub::open(settings.clone(), clock.clone()).await.expect("the hub opens");
        let url = format!("http://{}", hub.address().expect("the hub listens"));
        let metrics = hub.metrics_address();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            Box::pin(hub.serve(async { drop(stopped.await) })).await.expect("the hub serves");
        });
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = Client::builder().timeout(Duration::from_secs(30)).redirect(reqwest::redirect::Policy::none());
        let house = Self {
            url,
            set_up,
            http: http.build().expect("a client can be made"),
            clock,
            token: Mutex::default(),
            settings,
            metrics,
            _stop: stop,
            _served: served,
            folder,
        };
        let token = house.token_of(&house.set_up.client_id, &house.set_up.client_secret).await;
        house.use_token(&token);
        house
    }

    /// Ends the hub, in its own time; its folder stays as long as what is given.
    pub(crate) fn end(self) -> TempDir {
        self.folder
    }

    /// Calls with this token from now on.
    pub(crate) fn use_token(&self, token: &str) {
        token.clone_into(&mut self.token.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The token that calls have.
    pub(crate) fn token(&self) -> String {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request for a token.
    pub(crate) async fn ask_for_token(&self, id: &str, secret: &str) -> Response {
        let form = [("grant_type", "client_credentials"), ("audience", "anything")];
        let request = self.http.post(format!("{}/oauth/dpc/token", self.url)).basic_auth(id, Some(secret)).form(&form);
        request.send().await.expect("the hub answers")
    }

    /// An access token.
    pub(crate) async fn token_of(&self, id: &str, secret: &str) -> String {
        let answer = self.ask_for_token(id, secret).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let body: Value = answer.json().await.expect("a token is JSON");
        body["access_token"].as_str().expect("there is a token").to_owned()
    }

    /// A request of the API, not sent yet.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/dpc/v1{path}", self.url)).bearer_auth(self.token())
    }

    /// A call of the API.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send().await.expect("the hub answers")
    }

    /// A call that must end with `status`, and its body.
    pub(crate) async fn expect(&self, status: u16, method: Method, path: &str, body: Option<Value>) -> Value {
        let answer = self.call(method.clone(), path, body).await;
        finished(answer, status, &format!("{method} {path}")).await.1
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.expect(200, Method::GET, path, None).await
    }

    pub(crate) fn pipelines(&self) -> String {
        format!("/projects/{}/streaming-pipelines", self.set_up.project_id)
    }

    /// A new agent: its id.
    pub(crate) async fn new_agent(&self, name: &str) -> String {
        let created = self.expect(201, Method::POST, "/agents", Some(agent(name))).await;
        created["agentId"].as_str().expect("an agent has an id").to_owned()
    }

    /// A new agent, and the token that its process gets.
    pub(crate) async fn agent(&self, name: &str) -> (String, String) {
        let id = self.new_agent(name).await;
        let credentials = self.get(&format!("/agents/{id}/credentials")).await;
        let text = |name: &str| credentials[name].as_str().expect("credentials are texts").to_owned();
        let token = self.token_of(&text("clientId"), &text("clientSecret")).await;
        (id, token)
    }

    /// A new pipeline: its path.
    pub(crate) async fn new_pipeline(&self, name: &str, agent_id: &str) -> String {
        let created = self.expect(201, Method::POST, &self.pipelines(), Some(pipeline(name, agent_id))).await;
        format!("{}/{}", self.pipelines(), created["streamingPipelineId"].as_str().expect("a pipeline has an id"))
    }

    pub(crate) async fn command(&self, path: &str, command: &str) {
        self.expect(202, Method::POST, &format!("{path}/commands"), Some(json!({"command": command}))).await;
    }

    /// Status and the code of its reason.
    pub(crate) async fn status(&self, path: &str) -> (String, String) {
        let status = self.get(&format!("{path}/status")).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&status["status"]), text(&status["reason"]["code"]))
    }

    /// A call of the gateway.
    pub(crate) async fn gateway(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}/agent/v1/{path}", self.url)).bearer_auth(token).json(&body);
        let answer = request.send().await.expect("the hub answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("the answer can be read");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A process of the agent says hello: its session.
    pub(crate) async fn hello(&self, token: &str) -> String {
        let hello = json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0"});
        let (code, welcome) = self.gateway(token, "session", hello).await;
        assert_eq!(code, 200, "{welcome}");
        welcome["sessionId"].as_str().expect("a session has an id").to_owned()
    }

    /// A sync that does not wait, the newest of all.
    pub(crate) async fn sync(&self, token: &str, session: &str, more: Value) -> Value {
        static SEQUENCE: AtomicU64 = AtomicU64::new(1000);
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let mut body =
            json!({"sessionId": session, "sequence": sequence, "sentAt": "2026-01-01T00:00:00.000Z", "waitMs": 0});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let (code, synced) = self.gateway(token, "sync", body).await;
        assert_eq!(code, 200, "{synced}");
        synced
    }

    /// The hub's database.
    pub(crate) async fn database(&self) -> sqlx::AnyPool {
        sqlx::any::install_default_drivers();
        let url = match self.settings.place() {
            Place::Sqlite(file) | Place::Copy(file) => format!("sqlite://{}", file.display()),
            Place::Postgres(url) => url,
        };
        sqlx::AnyPool::connect(&url).await.expect("the hub's database opens")
    }

    /// A client with this role in the account, or in another one.
    pub(crate) async fn client(&self, role: &str, own_account: bool) -> Stranger {
        let pool = self.database().await;
        let id = || uuid::Uuid::new_v4().to_string();
        let (client, secret) = (id(), "a secret of the tests");
        let (mut account, mut project) = (self.set_up.account_id.clone(), self.set_up.project_id.clone());
        if !own_account {
            (account, project) = (id(), id());
            let sql = "INSERT INTO accounts (id, name, created_at) VALUES ($1, 'Other', 0)";
            sqlx::query(sql).bind(&account).execute(&pool).await.expect("an account is made");
            let sql = "INSERT INTO projects (id, account_id, name, created_at) VALUES ($1, $2, 'Main', 0)";
            sqlx::query(sql).bind(&project).bind(&account).execute(&pool).await.expect("a project is made");
        }
        let hash: String = Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = "INSERT INTO api_clients (id, account_id, name, role, secret_hash, created_at) \
                   VALUES ($1, $2, 'other', $3, $4, 0)";
        let insert = sqlx::query(sql).bind(&client).bind(&account).bind(role).bind(hash);
        insert.execute(&pool).await.expect("a client is made");
        pool.close().await;
        let token = self.token_of(&client, secret).await;
        Stranger { account, project, token }
    }
}

/// Headers and body of an answer, which must have this status.
pub(crate) async fn finished(answer: Response, status: u16, what: &str) -> (HeaderMap, Value) {
    let given = answer.status().as_u16();
    let headers = answer.headers().clone();
    let text = answer.text().await.expect("the answer can be read");
    assert_eq!(given, status, "{what}: {text}");
    if given >= 400 && !what.contains("/oauth/") {
        assert_eq!(headers["content-type"], "application/problem+json", "{what}: {text}");
        let problem: Value = serde_json::from_str(&text).expect("a problem is JSON");
        for member in ["type", "title", "detail", "instance", "code", "traceId"] {
            assert!(problem[member].is_string(), "{what}: {problem}");
        }
        assert_eq!(problem["status"], given, "{what}: {problem}");
    }
    (headers, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// An agent as automation sends it.
pub(crate) fn agent(name: &str) -> Value {
    json!({"name": name, "deployment": "fargate", "cloudProvider": "aws", "agentType": "streaming"})
}

/// A pipeline as automation sends it.
pub(crate) fn pipeline(name: &str, agent_id: &str) -> Value {
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

/// Fields of the violations.
pub(crate) fn fields(problem: &Value) -> Vec<&str> {
    let violations = problem["violations"].as_array().map(Vec::as_slice).unwrap_or_default();
    violations.iter().filter_map(|violation| violation["field"].as_str()).collect()
}
