//! A fake of Azure as far as identities and secrets need it: Entra's token endpoint, the two services of managed
//! identities, and a key vault.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Answers, Asked, Fake, SetClock, json as answer, jwt};

/// The tenant.
pub const TENANT: &str = "tenant-1";
/// The application, or the user-assigned identity.
pub const CLIENT: &str = "client-1";
/// What tokens for the vault are for.
pub const RESOURCE: &str = "https://vault.azure.net";

/// The fake.
pub type FakeAzure = Fake<State>;

/// What it holds; a test changes it as it likes.
pub struct State {
    clock: Arc<SetClock>,
    /// How it is reached, where something stands in front of it.
    pub address: String,
    /// The application's secret.
    pub secret: String,
    /// The application's certificate: public key and thumbprint.
    pub certificate: Option<(Vec<u8>, String)>,
    /// The token of Kubernetes that the identity trusts.
    pub federated: Option<String>,
    /// What must stand in `X-IDENTITY-HEADER`.
    pub header: String,
    /// Client ids of the managed identities that are assigned; empty: none at all.
    pub assigned: Vec<String>,
    /// Life of tokens, in seconds.
    pub life: i64,
    /// Secrets by name, each with its versions (id, value, whether it is enabled).
    pub secrets: HashMap<String, Vec<(String, String, bool)>>,
    /// Why the identity may not read: the code within a 403.
    pub forbidden: Option<&'static str>,
    /// The resource that the vault asks for a token of.
    pub resource: String,
    /// While it is down it answers 503.
    pub is_down: bool,
    /// Method and path of every request.
    pub asked: Vec<String>,
    tokens: HashMap<String, i64>,
}

impl Fake<State> {
    /// Starts one.
    pub fn start(clock: &Arc<SetClock>) -> Self {
        let fake = Self::serve(State {
            clock: Arc::clone(clock),
            address: String::new(),
            secret: "the secret".into(),
            certificate: None,
            federated: None,
            header: "the header".into(),
            assigned: vec![CLIENT.into()],
            life: 3600,
            secrets: HashMap::new(),
            forbidden: None,
            resource: RESOURCE.into(),
            is_down: false,
            asked: Vec::new(),
            tokens: HashMap::new(),
        });
        let address = fake.url();
        fake.state().address = address;
        fake
    }

    /// Writes a further version.
    pub fn write(&self, name: &str, value: &str) {
        let mut state = self.state();
        let versions = state.secrets.entry(name.into()).or_default();
        versions.push((format!("version{}", versions.len() + 1), value.into(), true));
    }
}

impl Answers for State {
    fn respond(&mut self, asked: &Asked) -> Response {
        self.asked.push(format!("{} {}", asked.method, asked.path));
        if self.is_down {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        match asked.path.as_str() {
            "/tenant-1/oauth2/v2.0/token" => self.sign_in(&asked.form()),
            "/tenant-1/v2.0/.well-known/openid-configuration" => self.described(),
            "/metadata/identity/oauth2/token" if asked.header("metadata") == Some("true") => self.managed(asked),
            "/metadata/identity/oauth2/token" => answer(
                400,
                &json!({"error": "bad_request_102",
                "error_description": "Required metadata header not specified"}),
            ),
            "/msi/token" if asked.header("x-identity-header") == Some(self.header.as_str()) => self.managed(asked),
            "/msi/token" => StatusCode::UNAUTHORIZED.into_response(),
            path => match path.strip_prefix("/secrets/") {
                Some(rest) => self.secret(asked, rest),
                None => StatusCode::NOT_FOUND.into_response(),
            },
        }
    }
}

impl State {
    /// How often something was asked for that begins like this.
    pub fn times(&self, what: &str) -> usize {
        self.asked.iter().filter(|asked| asked.starts_with(what)).count()
    }

    fn described(&self) -> Response {
        let base = format!("{}/{TENANT}", self.address);
        answer(
            200,
            &json!({"token_endpoint": format!("{base}/oauth2/v2.0/token"), "issuer": format!("{base}/v2.0"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"), "jwks_uri": format!("{base}/keys")}),
        )
    }

    fn sign_in(&mut self, form: &HashMap<String, String>) -> Response {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let refused = |status, error: &str, text: &str| {
            let text = format!("{text} Trace ID: 1 Correlation ID: 2 Timestamp: 2026-01-01 00:00:00Z");
            answer(status, &json!({"error": error, "error_description": text}))
        };
        if field("client_id") != CLIENT {
            return refused(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory.");
        }
        if field("grant_type") != "client_credentials" || !field("scope").ends_with("/.default") {
            return refused(400, "invalid_scope", "AADSTS1002012: The provided value for scope is not valid.");
        }
        let assertion = field("client_assertion");
        if assertion.is_empty() {
            if field("client_secret") != self.secret {
                return refused(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.");
            }
        } else if !self.proves(assertion) {
            return refused(401, "invalid_client", "AADSTS700213: No matching federated identity record found.");
        }
        let token = self.token();
        answer(
            200,
            &json!({"token_type": "Bearer", "expires_in": self.life, "ext_expires_in": self.life,
            "access_token": token}),
        )
    }

    /// The token of Kubernetes, or one that the certificate's key has signed for this endpoint.
    fn proves(&self, assertion: &str) -> bool {
        if self.federated.as_deref() == Some(assertion) {
            return true;
        }
        let Some((public, thumbprint)) = &self.certificate else { return false };
        let Some((header, claims)) = jwt::checked(assertion, public) else { return false };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or_default();
        let now = self.clock.unix();
        header.get("x5t#S256").and_then(Value::as_str) == Some(thumbprint)
            && text("aud").ends_with("/tenant-1/oauth2/v2.0/token")
            && (text("iss"), text("sub")) == (CLIENT.into(), CLIENT.into())
            && !text("jti").is_empty()
            && (number("nbf")..number("exp")).contains(&now)
    }

    fn managed(&mut self, asked: &Asked) -> Response {
        let parameters = asked.parameters();
        let wanted = parameters.get("client_id");
        let is_there = wanted.map_or(!self.assigned.is_empty(), |id| self.assigned.contains(id));
        if !is_there {
            let text = "Identity not found";
            return answer(400, &json!({"error": "invalid_request", "error_description": text}));
        }
        if parameters.get("resource").is_none_or(|it| it.ends_with("/.default")) {
            return answer(400, &json!({"error": "invalid_resource", "error_description": "AADSTS500011"}));
        }
        let token = self.token();
        let end = (self.clock.unix() + self.life).to_string();
        answer(
            200,
            &json!({"access_token": token, "expires_on": end, "expires_in": self.life.to_string(),
            "resource": parameters.get("resource"), "token_type": "Bearer", "client_id": wanted}),
        )
    }

    fn token(&mut self) -> String {
        let token = format!("entra.{}", self.tokens.len());
        self.tokens.insert(token.clone(), self.clock.unix() + self.life);
        token
    }

    fn secret(&self, asked: &Asked, path: &str) -> Response {
        let given = asked.header("authorization").and_then(|it| it.strip_prefix("Bearer ")).unwrap_or_default();
        if self.tokens.get(given).is_none_or(|end| self.clock.unix() >= *end) {
            let challenge =
                format!("Bearer authorization=\"{}/{TENANT}\", resource=\"{}\"", self.address, self.resource);
            let body = json!({"error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}});
            let mut response = answer(401, &body);
            if let Ok(value) = challenge.parse() {
                response.headers_mut().insert("www-authenticate", value);
            }
            return response;
        }
        let error = |status, code: &str, inner: Option<&str>, message: String| {
            let inner = inner.map(|code| json!({"code": code}));
            answer(status, &json!({"error": {"code": code, "message": message, "innererror": inner}}))
        };
        if !asked.parameters().contains_key("api-version") {
            return error(400, "BadParameter", None, "api-version must be specified".into());
        }
        if let Some(inner) = self.forbidden {
            let message = "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny \
                           assignments or role definitions were changed recently, please observe propagation time.";
            return error(403, "Forbidden", Some(inner), message.into());
        }
        let (name, version) = path.trim_end_matches('/').split_once('/').unwrap_or((path.trim_end_matches('/'), ""));
        let versions = self.secrets.get(name);
        let found = versions
            .and_then(|all| if version.is_empty() { all.last() } else { all.iter().find(|it| it.0 == version) });
        let Some((id, value, is_enabled)) = found else {
            return error(
                404,
                "SecretNotFound",
                None,
                format!("A secret with (name/id) {name} was not found in this key vault."),
            );
        };
        if !is_enabled {
            let message = "Operation get is not allowed on a disabled secret.".into();
            return error(403, "Forbidden", Some("SecretDisabled"), message);
        }
        answer(
            200,
            &json!({"value": value, "id": format!("{}/secrets/{name}/{id}", self.address),
            "attributes": {"enabled": true, "created": 1, "updated": 1, "recoveryLevel": "Recoverable+Purgeable"}}),
        )
    }
}
