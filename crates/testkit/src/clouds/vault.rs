//! A fake of HashiCorp Vault: key/value stores of both versions, policies, tokens that end, AppRole and Kubernetes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::Method;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Answers, Asked, Fake, SetClock, json as answer};

/// The token that may do everything.
pub const ROOT: &str = "hvs.root";

/// The fake.
pub type FakeVault = Fake<State>;

/// What it holds; a test changes it as it likes.
pub struct State {
    clock: Arc<SetClock>,
    /// The namespace that requests must name.
    pub namespace: Option<String>,
    /// Mounts of key/value stores, with their versions.
    pub mounts: HashMap<String, u8>,
    /// Secrets by mount and path, each with its versions.
    pub secrets: HashMap<String, Vec<Stored>>,
    /// Paths that each policy lets read; a star at the end stands for anything.
    pub policies: HashMap<String, Vec<String>>,
    /// Tokens.
    pub tokens: HashMap<String, Token>,
    /// AppRoles: role id, secret id.
    pub app_roles: HashMap<String, String>,
    /// Kubernetes roles: role, token of the service account.
    pub kubernetes: HashMap<String, String>,
    /// Life of the tokens that a login gives, in seconds.
    pub life: i64,
    /// While it is sealed it answers 503.
    pub is_sealed: bool,
    /// Method and path of every request.
    pub asked: Vec<String>,
}

/// One version.
#[derive(Clone)]
pub struct Stored {
    /// What was written.
    pub object: Value,
    /// Deleted, can be brought back.
    pub is_deleted: bool,
    /// Gone for good.
    pub is_destroyed: bool,
}

/// A token.
#[derive(Clone)]
pub struct Token {
    /// What it carries.
    pub policies: Vec<String>,
    /// Seconds since 1970; never, if none.
    pub ends: Option<i64>,
    /// Renewing it gives it so many seconds.
    pub renew: i64,
}

impl Fake<State> {
    /// Starts one with a store of version 2 at `secret` and one of version 1 at `old/kv`.
    pub fn start(clock: &Arc<SetClock>) -> Self {
        let root = Token { policies: vec!["root".into()], ends: None, renew: 0 };
        Self::serve(State {
            clock: Arc::clone(clock),
            namespace: None,
            mounts: HashMap::from([("secret".into(), 2), ("old/kv".into(), 1)]),
            secrets: HashMap::new(),
            policies: HashMap::from([("root".into(), vec!["*".into()])]),
            tokens: HashMap::from([(ROOT.into(), root)]),
            app_roles: HashMap::new(),
            kubernetes: HashMap::new(),
            life: 3600,
            is_sealed: false,
            asked: Vec::new(),
        })
    }

    /// Writes a further version.
    pub fn write(&self, path: &str, object: Value) {
        let stored = Stored { object, is_deleted: false, is_destroyed: false };
        self.state().secrets.entry(path.into()).or_default().push(stored);
    }
}

impl Answers for State {
    fn respond(&mut self, asked: &Asked) -> Response {
        self.asked.push(format!("{} {}", asked.method, asked.path));
        if self.is_sealed {
            return errors(503, "Vault is sealed");
        }
        if self.namespace.as_deref() != asked.header("x-vault-namespace").map(|it| it.trim_matches('/')) {
            return errors(403, "permission denied");
        }
        let Some(path) = asked.path.strip_prefix("/v1/") else { return errors(404, "") };
        match path.strip_prefix("auth/").and_then(|rest| rest.strip_suffix("/login")) {
            Some("approle") => return self.app_role(&asked.json()),
            Some("kubernetes") => return self.kubernetes(&asked.json()),
            Some(_) => return errors(403, "permission denied"),
            None => {}
        }
        let given = asked.header("x-vault-token").unwrap_or_default().to_owned();
        let now = self.clock.unix();
        let Some(token) = self.tokens.get(&given).filter(|it| it.ends.is_none_or(|end| now < end)).cloned() else {
            return errors(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n");
        };
        match path {
            "auth/token/lookup-self" => {
                let ttl = token.ends.map_or(0, |end| end - now);
                let data = json!({"ttl": ttl, "renewable": token.renew > 0, "policies": token.policies, "id": given});
                answer(200, &json!({"data": data}))
            }
            "auth/token/renew-self" if token.renew > 0 => {
                if let Some(held) = self.tokens.get_mut(&given) {
                    held.ends = Some(now + token.renew);
                }
                let auth = json!({"client_token": given, "lease_duration": token.renew, "renewable": true,
                    "policies": token.policies});
                answer(200, &json!({"auth": auth}))
            }
            "auth/token/renew-self" => errors(400, "lease is not renewable"),
            _ => match path.strip_prefix("sys/internal/ui/mounts/") {
                Some(within) => self.mount(&token, within),
                None if asked.method == Method::GET => self.read(&token, path, &asked.parameters()),
                None => errors(405, "unsupported operation"),
            },
        }
    }
}

impl State {
    fn signed_in(&mut self, policy: &str) -> Response {
        let value = format!("hvs.login{}", self.tokens.len());
        let token = Token { policies: vec![policy.into()], ends: Some(self.clock.unix() + self.life), renew: 0 };
        self.tokens.insert(value.clone(), token);
        let auth =
            json!({"client_token": value, "lease_duration": self.life, "renewable": false, "policies": [policy]});
        answer(200, &json!({"auth": auth}))
    }

    fn app_role(&mut self, body: &Value) -> Response {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match self.app_roles.get(&text("role_id")) {
            Some(secret) if *secret == text("secret_id") => self.signed_in("agent"),
            _ => errors(400, "invalid role or secret ID"),
        }
    }

    fn kubernetes(&mut self, body: &Value) -> Response {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match self.kubernetes.get(&text("role")) {
            Some(token) if *token == text("jwt") => self.signed_in("agent"),
            _ => errors(403, "service account name not authorized"),
        }
    }

    fn allows(&self, token: &Token, path: &str) -> bool {
        let matches = |rule: &String| match rule.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => rule == path,
        };
        token.policies.iter().filter_map(|name| self.policies.get(name)).flatten().any(matches)
    }

    /// The mount that a path lies in, with what is left of the path.
    fn mount_of<'a>(&self, path: &'a str) -> Option<(String, u8, &'a str)> {
        self.mounts.iter().find_map(|(mount, version)| {
            let rest = path.strip_prefix(mount.as_str())?.strip_prefix('/')?;
            Some((mount.clone(), *version, rest))
        })
    }

    /// Vault tells it to whoever may do anything within the mount.
    fn mount(&self, token: &Token, path: &str) -> Response {
        let Some((mount, version, _)) = self.mount_of(path) else { return errors(403, "preflight capability check") };
        let rules = token.policies.iter().filter_map(|name| self.policies.get(name)).flatten();
        if !rules.clone().any(|rule| rule == "*" || rule.starts_with(&format!("{mount}/"))) {
            return errors(
                403,
                "preflight capability check returned 403, please ensure client's policies grant access",
            );
        }
        let options = (version == 2).then(|| json!({"version": "2"}));
        answer(200, &json!({"data": {"path": format!("{mount}/"), "type": "kv", "options": options}}))
    }

    fn read(&self, token: &Token, path: &str, parameters: &HashMap<String, String>) -> Response {
        if !self.allows(token, path) {
            return errors(403, "1 error occurred:\n\t* permission denied\n\n");
        }
        let Some((mount, version, rest)) = self.mount_of(path) else { return errors(404, "no handler for route") };
        let within = if version == 2 { rest.strip_prefix("data/") } else { Some(rest) };
        let Some(versions) = within.and_then(|within| self.secrets.get(&format!("{mount}/{within}"))) else {
            return answer(404, &json!({"errors": []}));
        };
        if version == 1 {
            return answer(200, &json!({"data": versions.last().map(|stored| &stored.object)}));
        }
        let wanted = parameters.get("version").and_then(|it| it.parse().ok()).unwrap_or(versions.len());
        let Some(stored) = wanted.checked_sub(1).and_then(|at| versions.get(at)) else {
            return answer(404, &json!({"errors": []}));
        };
        let deleted = if stored.is_deleted { "2026-01-02T03:04:05Z" } else { "" };
        let metadata = json!({"created_time": "2026-01-01T00:00:00Z", "custom_metadata": null,
            "deletion_time": deleted, "destroyed": stored.is_destroyed, "version": wanted});
        let is_gone = stored.is_deleted || stored.is_destroyed;
        let object = if is_gone { &Value::Null } else { &stored.object };
        answer(if is_gone { 404 } else { 200 }, &json!({"data": {"data": object, "metadata": metadata}}))
    }
}

fn errors(status: u16, error: &str) -> Response {
    answer(status, &json!({"errors": if error.is_empty() { Vec::new() } else { vec![error] }}))
}
