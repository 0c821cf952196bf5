//! A fake of AWS as far as identities and secrets need it: STS, Secrets Manager, the container's credentials service and
//! the machine's metadata service. Signatures, their time and session tokens are checked, and so are permissions.

mod served;
mod signature;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Answers, Asked, Fake, SetClock, json as answer};

/// AWS takes signatures that are at most five minutes off.
const SKEW: i64 = 300;

/// The fake.
pub type FakeAws = Fake<State>;

/// What it holds; a test changes it as it likes.
pub struct State {
    clock: Arc<SetClock>,
    /// Seconds that its clock is ahead of the test's.
    pub ahead: i64,
    /// Access keys by their ids.
    pub keys: HashMap<String, Key>,
    /// Roles that may be taken, by their ARNs, with the external id that they ask for.
    pub roles: HashMap<String, Option<String>>,
    /// The web identity token that each role trusts.
    pub web_identities: HashMap<String, String>,
    /// Actions that the identities' policies lack.
    pub denied: HashSet<&'static str>,
    /// Secrets by name: one version of each.
    pub secrets: HashMap<String, String>,
    /// Life of what it gives out, in seconds.
    pub life: i64,
    /// What must stand in `Authorization` when a container asks for credentials.
    pub container_token: Option<String>,
    /// The role of the machine.
    pub machine_role: Option<String>,
    /// While it is down it answers 503.
    pub is_down: bool,
    /// What was asked for, in order.
    pub asked: Vec<String>,
    sessions: HashSet<String>,
    made: usize,
}

/// An access key.
#[derive(Clone)]
pub struct Key {
    /// The secret half.
    pub secret: String,
    /// The session token that goes with it.
    pub token: Option<String>,
    /// When it ends, in seconds since 1970.
    pub ends: Option<i64>,
    /// Whose it is.
    pub arn: String,
}

impl Fake<State> {
    /// Starts one with a user's key `AKIDEXAMPLE`, whose secret is `example`.
    pub fn start(clock: &Arc<SetClock>) -> Self {
        let arn = "arn:aws:iam::123456789012:user/millrace".into();
        let user = Key { secret: "example".into(), token: None, ends: None, arn };
        Self::serve(State {
            clock: Arc::clone(clock),
            ahead: 0,
            keys: HashMap::from([("AKIDEXAMPLE".into(), user)]),
            roles: HashMap::new(),
            web_identities: HashMap::new(),
            denied: HashSet::new(),
            secrets: HashMap::new(),
            life: 3600,
            container_token: None,
            machine_role: None,
            is_down: false,
            asked: Vec::new(),
            sessions: HashSet::new(),
            made: 0,
        })
    }
}

impl Answers for State {
    fn respond(&mut self, asked: &Asked) -> Response {
        let mut response = self.answer(asked);
        let date = HeaderValue::from_str(&http_date(self.now())).ok();
        response.headers_mut().extend(date.map(|date| (axum::http::header::DATE, date)));
        response
    }
}

impl State {
    pub(super) fn now(&self) -> i64 {
        self.clock.unix() + self.ahead
    }

    /// How often something was asked for that begins like this.
    pub fn times(&self, what: &str) -> usize {
        self.asked.iter().filter(|asked| asked.starts_with(what)).count()
    }

    fn answer(&mut self, asked: &Asked) -> Response {
        let form = asked.form();
        let action = form.get("Action").map_or("", String::as_str);
        let target = asked.header("x-amz-target").unwrap_or_default();
        let what = [action, target].concat();
        self.asked.push(if what.is_empty() { format!("{} {}", asked.method, asked.path) } else { what });
        if self.is_down {
            return answer(503, &json!({"message": "Service Unavailable"}));
        }
        if asked.path != "/" {
            return self.beside(asked);
        }
        match (action, target) {
            ("AssumeRoleWithWebIdentity", _) => self.web_identity(&form),
            ("AssumeRole", _) => match self.signed(asked, "sts") {
                Ok(key) => self.assume_role(&form, &key),
                Err((code, message)) => xml_error(403, code, &message),
            },
            ("GetWebIdentityToken", _) => match self.signed(asked, "sts") {
                Ok(key) => self.outbound(&form, &key),
                Err((code, message)) => xml_error(403, code, &message),
            },
            (_, "secretsmanager.GetSecretValue") => match self.signed(asked, "secretsmanager") {
                Ok(key) => self.secret(&asked.json(), &key),
                Err((code, message)) => answer(400, &json!({"__type": code, "message": message})),
            },
            _ => xml_error(400, "InvalidAction", "Could not find operation"),
        }
    }

    /// Whose request it is.
    fn signed(&self, asked: &Asked, service: &str) -> Result<Key, (&'static str, String)> {
        let signed = signature::Signed::of(asked).ok_or(("MissingAuthenticationToken", "Missing".to_owned()))?;
        let Some(key) = self.keys.get(&signed.key_id).cloned() else {
            let code = if service == "sts" { "InvalidClientTokenId" } else { "UnrecognizedClientException" };
            return Err((code, "The security token included in the request is invalid.".into()));
        };
        if !signed.is_by(&key.secret, asked) || signed.service != service {
            let code = if service == "sts" { "SignatureDoesNotMatch" } else { "InvalidSignatureException" };
            return Err((
                code,
                "The request signature we calculated does not match the signature you provided.".into(),
            ));
        }
        if key.token.as_deref() != asked.header("x-amz-security-token") {
            return Err((
                "UnrecognizedClientException",
                "The security token included in the request is invalid.".into(),
            ));
        }
        let (now, skew) = (self.now(), signed.at - self.now());
        if skew.abs() > SKEW {
            let code = if service == "sts" { "SignatureDoesNotMatch" } else { "InvalidSignatureException" };
            let word = if skew < 0 { "Signature expired" } else { "Signature not yet current" };
            return Err((code, format!("{word}: {} is not within {now}", signed.at)));
        }
        if key.ends.is_some_and(|end| now >= end) {
            let code = if service == "sts" { "ExpiredToken" } else { "ExpiredTokenException" };
            return Err((code, "The security token included in the request is expired".into()));
        }
        Ok(key)
    }

    /// A new temporary key.
    pub(super) fn temporary(&mut self, arn: String) -> (String, Key) {
        self.made += 1;
        let id = format!("ASIA{}", self.made);
        let (secret, token) = (format!("temporary {}", self.made), format!("session/+= {}", self.made));
        let key = Key { secret, token: Some(token), ends: Some(self.now() + self.life), arn };
        self.keys.insert(id.clone(), key.clone());
        (id, key)
    }

    fn given(&mut self, role: &str, action: &str) -> Response {
        let arn = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/millrace";
        let (id, key) = self.temporary(arn);
        let end = rfc3339(key.ends.unwrap_or_default());
        let token = key.token.unwrap_or_default();
        let body = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
             <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{token}</SessionToken>\
             <Expiration>{end}</Expiration></Credentials></{action}Result></{action}Response>",
            key.secret
        );
        ([("content-type", "text/xml")], body).into_response()
    }

    fn web_identity(&mut self, form: &HashMap<String, String>) -> Response {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let role = field("RoleArn").to_owned();
        match self.web_identities.get(&role) {
            Some(token) if token == field("WebIdentityToken") => self.given(&role, "AssumeRoleWithWebIdentity"),
            _ => xml_error(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
        }
    }

    /// A token for somebody outside (AWS Security Token Service, `GetWebIdentityToken`).
    fn outbound(&self, form: &HashMap<String, String>, key: &Key) -> Response {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let seconds: i64 = field("DurationSeconds").parse().unwrap_or_default();
        if field("Audience.member.1").is_empty()
            || !["RS256", "ES384"].contains(&field("SigningAlgorithm"))
            || !(60..=3600).contains(&seconds)
        {
            return xml_error(400, "ValidationError", "1 validation error detected");
        }
        if self.denied.contains("sts:GetWebIdentityToken") {
            let message = format!("User: {} is not authorized to perform: sts:GetWebIdentityToken", key.arn);
            return xml_error(403, "AccessDenied", &message);
        }
        if self.denied.contains("outbound federation") {
            let message = "Outbound web identity federation is not enabled for this account.";
            return xml_error(400, "OutboundWebIdentityFederationDisabled", message);
        }
        let claims = json!({"iss": "https://id.tokens.sts.global.api.aws", "sub": key.arn, "aud": field("Audience.member.1"),
            "exp": self.now() + seconds});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "RS256"})), part(&claims));
        let body = format!(
            "<GetWebIdentityTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetWebIdentityTokenResult>\
             <WebIdentityToken>{token}</WebIdentityToken><Expiration>{}</Expiration></GetWebIdentityTokenResult>\
             </GetWebIdentityTokenResponse>",
            rfc3339(self.now() + seconds)
        );
        ([("content-type", "text/xml")], body).into_response()
    }

    fn assume_role(&mut self, form: &HashMap<String, String>, key: &Key) -> Response {
        let role = form.get("RoleArn").cloned().unwrap_or_default();
        let is_trusted = self.roles.get(&role).is_some_and(|wanted| wanted.as_ref() == form.get("ExternalId"));
        if is_trusted && !self.denied.contains("sts:AssumeRole") {
            return self.given(&role, "AssumeRole");
        }
        let arn = &key.arn;
        let message = format!("User: {arn} is not authorized to perform: sts:AssumeRole on resource: {role}");
        xml_error(403, "AccessDenied", &message)
    }

    fn secret(&self, body: &Value, key: &Key) -> Response {
        let name = body.get("SecretId").and_then(Value::as_str).unwrap_or_default();
        let refused = |code: &str, message: String| answer(400, &json!({"__type": code, "Message": message}));
        if self.denied.contains("secretsmanager:GetSecretValue") {
            let message = format!(
                "User: {} is not authorized to perform: secretsmanager:GetSecretValue on resource: {name} because no \
                 identity-based policy allows the secretsmanager:GetSecretValue action",
                key.arn
            );
            return refused("AccessDeniedException", message);
        }
        if self.denied.contains("kms:Decrypt") {
            return refused("AccessDeniedException", "Access to KMS is not allowed".into());
        }
        match self.secrets.get(name) {
            Some(text) => answer(200, &json!({"Name": name, "SecretString": text})),
            None => refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret.".into()),
        }
    }
}

/// Whether a request is signed for the token service with this secret key.
pub(super) fn is_signed(asked: &Asked, secret: &str) -> bool {
    signature::Signed::of(asked).is_some_and(|signed| signed.service == "sts" && signed.is_by(secret, asked))
}

fn xml_error(status: u16, code: &str, message: &str) -> Response {
    let status = axum::http::StatusCode::from_u16(status).unwrap_or_default();
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    );
    (status, [("content-type", "text/xml")], body).into_response()
}

/// Seconds since 1970, as AWS writes times.
pub(super) fn rfc3339(seconds: i64) -> String {
    let text = millrace_model::Timestamp(seconds * 1_000_000).to_string();
    text.split('.').next().unwrap_or_default().to_owned() + "Z"
}

/// Seconds since 1970, as servers write `Date`.
fn http_date(seconds: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = rfc3339(seconds);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1)).unwrap_or(&"");
    // 1970-01-01 was a Thursday.
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let day = days.get(seconds.div_euclid(86_400).rem_euclid(7) as usize).unwrap_or(&"");
    format!("{day}, {} {month} {} {} GMT", part(8, 10), part(0, 4), part(11, 19))
}
