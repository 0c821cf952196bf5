//! A fake of Google Cloud as far as identities and secrets need it: token endpoints, the metadata server, and Secret
//! Manager.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Answers, Asked, Fake, SetClock, json as answer, jwt};

/// The service account.
pub const EMAIL: &str = "millrace@project-1.iam.gserviceaccount.com";
/// The id of its key.
pub const KEY_ID: &str = "key-1";
/// The provider that federated identities come through.
pub const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k";

/// The public token endpoint.
const PUBLIC: &str = "https://oauth2.googleapis.com/token";

/// The fake.
pub type FakeGoogle = Fake<State>;

/// What it holds; a test changes it as it likes.
pub struct State {
    clock: Arc<SetClock>,
    address: String,
    /// The public half of the service account's key.
    pub public: Option<Vec<u8>>,
    /// The refresh token of a login.
    pub refresh: String,
    /// The token of another issuer that the provider trusts.
    pub subject: Option<String>,
    /// Whether the machine has a service account.
    pub has_account: bool,
    /// Whether the answers of the metadata server say whose they are.
    pub is_google: bool,
    /// Life of tokens, in seconds.
    pub life: i64,
    /// Secrets by their resource names, each with its versions (value, state).
    pub secrets: HashMap<String, Vec<(String, &'static str)>>,
    /// Whether the identity lacks the permission.
    pub is_denied: bool,
    /// Whether checksums are damaged on the way.
    pub is_damaged: bool,
    /// While it is down it answers 503.
    pub is_down: bool,
    /// Method and path of every request.
    pub asked: Vec<String>,
    /// Tokens, with their ends.
    pub tokens: HashMap<String, i64>,
}

/// A token with these claims; whoever is shown it verifies the signature, not whoever hands it on.
fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "RS256", "typ": "JWT"})), part(claims))
}

impl Fake<State> {
    /// Starts one.
    pub fn start(clock: &Arc<SetClock>) -> Self {
        let fake = Self::serve(State {
            clock: Arc::clone(clock),
            address: String::new(),
            public: None,
            refresh: "refresh".into(),
            subject: None,
            has_account: true,
            is_google: true,
            life: 3600,
            secrets: HashMap::new(),
            is_denied: false,
            is_damaged: false,
            is_down: false,
            asked: Vec::new(),
            tokens: HashMap::new(),
        });
        let address = fake.url();
        fake.state().address = address;
        fake
    }

    /// Writes a further version of a secret with this resource name.
    pub fn write(&self, secret: &str, value: &str) {
        self.state().secrets.entry(secret.into()).or_default().push((value.into(), "ENABLED"));
    }
}

impl Answers for State {
    fn respond(&mut self, asked: &Asked) -> Response {
        self.asked.push(format!("{} {}", asked.method, asked.path));
        if self.is_down {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        if let Some(path) = asked.path.strip_prefix("/computeMetadata/v1/") {
            return self.metadata(asked, path);
        }
        match asked.path.as_str() {
            "/token" => self.exchange(&asked.form()),
            "/v1/token" => self.federate(&asked.form()),
            path if path.ends_with(":generateAccessToken") => self.impersonate(asked),
            path => self.secret(asked, path),
        }
    }
}

impl State {
    /// How often something was asked for that begins like this.
    pub fn times(&self, what: &str) -> usize {
        self.asked.iter().filter(|asked| asked.starts_with(what)).count()
    }

    /// A new token.
    pub fn token(&mut self) -> String {
        let token = format!("ya29.{}", self.tokens.len());
        self.tokens.insert(token.clone(), self.clock.unix() + self.life);
        token
    }

    fn metadata(&mut self, asked: &Asked, path: &str) -> Response {
        // Without the header it answers nothing: a forged request cannot set one.
        if asked.header("metadata-flavor") != Some("Google") {
            return StatusCode::FORBIDDEN.into_response();
        }
        let is_token = |path: &str| {
            let account = path.strip_prefix("instance/service-accounts/").and_then(|it| it.strip_suffix("/token"));
            account.is_some_and(|account| account == "default" || account == EMAIL)
        };
        let mut response = match path {
            "project/project-id" => "project-1".into_response(),
            "instance/service-accounts/default/" if self.has_account => answer(
                200,
                &json!({"aliases": ["default"],
                "email": EMAIL, "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}),
            ),
            _ if self.has_account && is_token(path) => {
                let token = self.token();
                answer(200, &json!({"access_token": token, "expires_in": self.life, "token_type": "Bearer"}))
            }
            "instance/service-accounts/default/identity" if self.has_account => {
                let parameters = asked.parameters();
                match (parameters.get("audience"), parameters.get("format").map(String::as_str)) {
                    (Some(audience), Some("full")) => unsigned(
                        &json!({"iss": "https://accounts.google.com", "sub": "1234567890", "aud": audience, "email": EMAIL}),
                    )
                    .into_response(),
                    _ => (StatusCode::BAD_REQUEST, "non-empty audience parameter required").into_response(),
                }
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        };
        if self.is_google
            && let Ok(value) = "Google".parse()
        {
            response.headers_mut().insert("metadata-flavor", value);
        }
        response
    }

    fn given(&mut self) -> Response {
        let token = self.token();
        answer(200, &json!({"access_token": token, "expires_in": self.life, "token_type": "Bearer"}))
    }

    fn exchange(&mut self, form: &HashMap<String, String>) -> Response {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let refused = |text: &str| answer(400, &json!({"error": "invalid_grant", "error_description": text}));
        match field("grant_type") {
            "refresh_token" if field("refresh_token") == self.refresh => self.given(),
            "refresh_token" => refused("Token has been expired or revoked."),
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                if self.proves(field("assertion")) {
                    self.given()
                } else {
                    refused("Invalid JWT Signature.")
                }
            }
            _ => answer(400, &json!({"error": "unsupported_grant_type"})),
        }
    }

    fn proves(&self, assertion: &str) -> bool {
        let Some((header, claims)) = self.public.as_ref().and_then(|public| jwt::checked(assertion, public)) else {
            return false;
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or_default();
        let (now, issued, end) = (self.clock.unix(), number("iat"), number("exp"));
        header.get("kid").and_then(Value::as_str) == Some(KEY_ID)
            && header.get("alg").and_then(Value::as_str) == Some("RS256")
            && text("iss") == EMAIL
            // Their own client names the public endpoint, whatever address the file gives.
            && [format!("{}/token", self.address), PUBLIC.into()].contains(&text("aud"))
            && text("scope").starts_with("https://www.googleapis.com/auth/")
            && (issued - 60..end).contains(&now)
            && end - issued <= 3600
    }

    fn federate(&mut self, form: &HashMap<String, String>) -> Response {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let is_asked_well = field("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange"
            && field("audience") == AUDIENCE
            && field("requested_token_type") == "urn:ietf:params:oauth:token-type:access_token"
            && !field("subject_token_type").is_empty();
        let token = field("subject_token");
        let is_aws = field("subject_token_type") == "urn:ietf:params:aws:token-type:aws4_request";
        let is_trusted = if is_aws { is_word_of_aws(token) } else { self.subject.as_deref() == Some(token) };
        if !is_asked_well || !is_trusted {
            let text = "The given credential is rejected by the attribute condition.";
            return answer(400, &json!({"error": "unauthorized_client", "error_description": text}));
        }
        self.given()
    }

    fn is_signed_in(&self, asked: &Asked) -> bool {
        let given = asked.header("authorization").and_then(|it| it.strip_prefix("Bearer ")).unwrap_or_default();
        self.tokens.get(given).is_some_and(|end| self.clock.unix() < *end)
    }

    fn impersonate(&mut self, asked: &Asked) -> Response {
        if !self.is_signed_in(asked) || self.is_denied {
            let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
            return answer(403, &json!({"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}));
        }
        let token = self.token();
        let end = super::aws::rfc3339(self.clock.unix() + self.life);
        answer(200, &json!({"accessToken": token, "expireTime": end}))
    }

    fn secret(&self, asked: &Asked, path: &str) -> Response {
        let error = |code, status: &str, message: String| {
            answer(code, &json!({"error": {"code": code, "message": message, "status": status}}))
        };
        if !self.is_signed_in(asked) {
            let message = "Request had invalid authentication credentials.".into();
            return error(401, "UNAUTHENTICATED", message);
        }
        let place = path.strip_prefix("/v1/").and_then(|it| it.strip_suffix(":access"));
        let Some((secret, version)) = place.and_then(|it| it.split_once("/versions/")) else {
            return error(404, "NOT_FOUND", "Method not found.".into());
        };
        if self.is_denied {
            let message = format!(
                "Permission 'secretmanager.versions.access' denied for resource '{secret}/versions/{version}' (or it may not exist)."
            );
            return error(403, "PERMISSION_DENIED", message);
        }
        let Some(versions) = self.secrets.get(secret) else {
            return error(404, "NOT_FOUND", format!("Secret [{secret}] not found or has no versions."));
        };
        let number = if version == "latest" { Some(versions.len()) } else { version.parse().ok() };
        let found = number.and_then(|number: usize| Some((number, versions.get(number.checked_sub(1)?)?)));
        let Some((number, (value, state))) = found else {
            return error(404, "NOT_FOUND", format!("Secret Version [{secret}/versions/{version}] not found."));
        };
        if *state != "ENABLED" {
            let message = format!("Secret Version [{secret}/versions/{number}] is in {state} state.");
            return error(400, "FAILED_PRECONDITION", message);
        }
        let sum = crc32c(value.as_bytes()) ^ u32::from(self.is_damaged);
        answer(
            200,
            &json!({"name": format!("{secret}/versions/{number}"),
            "payload": {"data": STANDARD.encode(value), "dataCrc32c": sum.to_string()}}),
        )
    }
}

/// A signed `GetCallerIdentity`, which the real service sends on to AWS: here it is signed with the key of the fake of AWS.
fn is_word_of_aws(token: &str) -> bool {
    let decoded = super::pairs(&format!("token={token}")).remove("token").unwrap_or_default();
    let request: Value = serde_json::from_str(&decoded).unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let Ok(url) = reqwest::Url::parse(&text(&request, "url")) else { return false };
    let headers: HeaderMap = request
        .get("headers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|header| Some((text(header, "key").parse().ok()?, text(header, "value").parse().ok()?)))
        .collect();
    let asked = Asked {
        method: text(&request, "method").parse().unwrap_or_default(),
        path: url.path().to_owned(),
        query: url.query().unwrap_or_default().to_owned(),
        headers,
        body: axum::body::Bytes::new(),
    };
    asked.query == "Action=GetCallerIdentity&Version=2011-06-15"
        && asked.header("x-goog-cloud-target-resource") == Some(AUDIENCE)
        && super::aws::is_signed(&asked, "example")
}

/// CRC-32C by division, as its definition has it: the most significant bit first, on mirrored bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut rest = u32::MAX;
    for byte in bytes {
        rest ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            rest = if rest & 0x8000_0000 == 0 { rest << 1 } else { (rest << 1) ^ 0x1EDC_6F41 };
        }
    }
    !rest.reverse_bits()
}
