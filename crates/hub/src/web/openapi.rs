//! The OpenAPI document: paths and answers come from the handlers, and here is added what holds for all of them, and the
//! bodies whose rules stand elsewhere: in the contract's shape of a pipeline, and in the rules of agents.

#![expect(
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "the document is of our own making, a test looks at all of it, and `json!` takes its parts by reference"
)]

use millrace_protocol::wire;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::app::agents::PLATFORMS;
use crate::app::credentials::LONGEST_LIFE;
use crate::app::recipients::EVENTS;
use crate::app::trust::{LONGEST_VALUE, MOST_CLAIMS};
use crate::auth::addresses::MOST as MOST_RANGES;

const ABOUT: &str = "\
Agents and pipelines of a hub. Every path below `/dpc/v1` is also there below `/v1`, and the token endpoint also at \
`/oauth/token`. Times are RFC 3339 in UTC. In a request `null` means absent, words are taken in any case, and unknown \
members are refused, as is a body in which an object names a member twice. A PUT may repeat the pipeline's `streamingPipelineId`. The header `account-id` may be sent with every call; it has to be the token's account, its letters in any case. A pipeline whose agent was removed stays and \
can be changed: a PUT may leave `agentId` as it is, and START is taken; the status is `NOT_RUNNING` with the reason `agent_removed` until a PUT names another agent. Agents, pipelines, events and the audit log may be \
long: while there is more, the header `Link` of an answer leads to what comes after its last row. A POST may \
carry an `Idempotency-Key`: sent again within 24 hours it is done once. Where an answer has an `ETag`, a write with \
`If-Match` is refused with 412 when that is no longer the newest.";

/// What White_Space is in Unicode, for a pattern.
const WHITE_SPACE: &str = r"\t\n\x0b\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";

/// What `char::is_control` is, for a pattern.
const CONTROL: &str = r"\x00-\x1f\x7f-\x9f";

/// Adds to `document` what the handlers do not say.
pub(super) fn complete(document: OpenApi) -> Value {
    // What serde cannot write down is not in our document.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["openapi"] = "3.1.0".into();
    document["info"] = json!({"title": "Millrace hub", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}});
    document["servers"] = json!([{"url": "/"}]);
    document["security"] = json!([{"token": []}]);
    document["components"]["securitySchemes"] = json!({"token": {"type": "http", "scheme": "bearer"}});
    document["components"]["responses"]["Problem"] = json!({"description": "Refused",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.extend(bodies());
    }
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            refusals(path, method, operation);
            let may_be_empty = operation["operationId"] == "rotateCredentials";
            if let Some(Value::Object(body)) = operation.get_mut("requestBody") {
                body.insert("required".into(), (!may_be_empty).into());
            }
            parameters(path, operation);
        }
    }
    document
}

/// What any call may be answered with, beside what it says itself.
fn refusals(path: &str, method: &str, operation: &mut Value) {
    let statuses: &[&str] = match (path, method) {
        ("/livez" | "/readyz", _) => &[],
        (path, _) if path.starts_with("/.well-known/") => &[],
        ("/oauth/dpc/token", _) => &["429"],
        (_, "get") => &["400", "401", "403", "404", "429"],
        (path, _) if path.starts_with("/agent/") => &["400", "401", "409", "410", "429"],
        _ => &["400", "401", "403", "404", "409", "412", "429"],
    };
    for status in statuses {
        operation["responses"][*status] = json!({"$ref": "#/components/responses/Problem"});
    }
    if *statuses != [] as [&str; 0] {
        operation["responses"]["500"] = json!({"$ref": "#/components/responses/Problem"});
        operation["responses"]["503"] = json!({"$ref": "#/components/responses/Problem"});
    }
}

/// Lists that are short, and come whole.
const WHOLE: [&str; 3] = ["listCredentials", "listKeys", "listTrustRules"];

/// Lists without a bound: they can be read on from a row.
const LONG: [&str; 4] = ["listAgents", "listPipelines", "listEvents", "readAuditLog"];

/// Ids in the path, and the page of a list.
fn parameters(path: &str, operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let id = id.as_str();
    let is_list = id.starts_with("list") && !WHOLE.contains(&id) || id == "readAuditLog";
    let mut parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        parameters.push(json!({"name": name, "in": "path", "required": true,
            "schema": {"type": "string", "format": "uuid"}}));
    }
    if is_list {
        parameters.push(json!({"name": "page", "in": "query", "description": "from 0",
            "schema": {"type": "integer", "minimum": 0, "default": 0}}));
        parameters.push(json!({"name": "size", "in": "query", "description": "of a page; more than 100 is 100",
            "schema": {"type": "integer", "minimum": 1, "default": 25}}));
    }
    if LONG.contains(&id) {
        parameters.push(json!({"name": "after", "in": "query",
            "description": "in place of `page`: what comes after the last row of another answer, as its `Link` has it",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\\.[\\s\\S]*)?$"}}));
        operation["responses"]["200"]["headers"]["Link"] = json!({"schema": {"type": "string"},
            "description": "`<…>; rel=\"next\"` (RFC 8288) where there is more: nothing is lost or comes twice while the list grows"});
    }
    parameters.extend(filters(id));
    operation["parameters"] = parameters.into();
}

/// What a list can be asked for, beside its page.
fn filters(list: &str) -> Vec<Value> {
    let (statuses, sorts, other): (Value, Value, Value) = match list {
        "listAgents" => (
            json!(["PENDING", "RUNNING", "STOPPED", "UNKNOWN"]),
            json!(["created", "-created", "name", "-name", "status", "-status", "lastSeen", "-lastSeen"]),
            json!({"name": "cloudProvider", "in": "query", "schema": {"enum": PLATFORMS.iter().map(|(cloud, _)| cloud).collect::<Vec<_>>()}}),
        ),
        "listPipelines" => (
            json!(["STARTING", "SNAPSHOTTING", "STREAMING", "STOPPING", "NOT_RUNNING", "UNKNOWN"]),
            json!(["created", "-created", "name", "-name", "status", "-status"]),
            json!({"name": "agentId", "in": "query", "schema": {"type": "string", "format": "uuid"}}),
        ),
        "readAuditLog" => {
            let actor = "who did it: `client:ID`, `person:ID`, `agent:ID`, `hub`, `unknown`";
            let action = "`agent.create`, or its first word alone: `agent`, `token`";
            return vec![
                json!({"name": "action", "in": "query", "description": action,
                    "schema": {"type": "string", "pattern": "^[a-z._]*$"}}),
                json!({"name": "actor", "in": "query", "description": actor, "schema": {"type": "string",
                    "pattern": "^(hub|unknown|(client|person|agent):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$"}}),
            ];
        }
        _ => return Vec::new(),
    };
    vec![
        json!({"name": "status", "in": "query", "schema": {"enum": statuses}}),
        other,
        json!({"name": "q", "in": "query", "description": "part of the name (of an agent also of the description), in any case",
            "schema": {"type": "string"}}),
        json!({"name": "sort", "in": "query", "description": "`-`: the other way round", "schema": {"enum": sorts}}),
    ]
}

/// The part of a pipeline that an agent is asked about: a source, a target or both; and a source, to be searched.
fn parts(pipeline: &Value) -> (Value, Value) {
    let mut asked = pipeline.clone();
    asked["required"] = json!([]);
    asked["anyOf"] = json!([{"required": ["streamingSource"]}, {"required": ["streamingTarget"]}]);
    for source in asked["properties"]["streamingSource"]["oneOf"].as_array_mut().into_iter().flatten() {
        source["required"] = json!(["type", "connection"]);
        source["properties"]["tables"]["minItems"] = 0.into();
    }
    let mut searched = asked.clone();
    searched["required"] = json!(["streamingSource"]);
    if let Some(members) = searched.as_object_mut() {
        members.remove("anyOf");
    }
    (asked, searched)
}

fn bodies() -> Map<String, Value> {
    let pipeline = wire::pipeline_schema(false);
    let sent = wire::pipeline_schema(true);
    let (asked, searched) = parts(&sent);
    let text = json!({"type": "string"});
    let number = json!({"type": "integer", "minimum": 0});
    let bodies = json!({
        "Pipeline": pipeline,
        "NewPipeline": sent,
        "PipelineList": object(&["results", "page", "size", "total"], json!({
            "results": {"type": "array", "items": {"$ref": "#/components/schemas/Pipeline"}},
            "page": number, "size": number, "total": number})),
        "PipelineCommand": {"oneOf": [
            closed(&["command"], json!({"command": {"enum": ["START", "STOP"]}})),
            closed(&["command"], json!({"command": {"enum": ["RESTART"]}, "tables": {"type": ["array", "null"],
                "minItems": 1, "items": {"type": "string", "minLength": 1},
                "description": "`schema.table`, those that are read anew; absent: all"},
                "adopt": {"type": ["boolean", "null"],
                    "description": "also when the chain there belongs to another pipeline or another source"}})),
        ]},
        "PipelineStatus": object(&["status"], json!({
            "status": {"enum": ["STARTING", "SNAPSHOTTING", "STREAMING", "STOPPING", "NOT_RUNNING", "UNKNOWN"]},
            "reason": object(&["code", "message", "cure"], json!({"code": text, "message": text, "cure": text,
                "fault": {"type": "string", "description": "code with a page of its own"}})),
            "report": {"type": "object", "description": "the agent's last, see docs/specs/agent-protocol.md"},
            "reportedAt": text})),
        "NewAgent": {"oneOf": PLATFORMS.iter().map(|(cloud, places)| new_agent(cloud, places)).collect::<Vec<_>>()},
        "NewUser": closed(&["email", "role"], json!({"email": email(), "role": role()})),
        "UserChange": closed(&[], json!({"role": nullable_word(role()), "disabled": {"type": ["boolean", "null"]}})),
        "NewApiClient": closed(&["name", "role"], json!({"name": title(), "role": role()})),
        "NewProject": closed(&["name"], json!({"name": title()})),
        "SettingsChange": closed(&[], json!({"accountName": nullable(title()), "allowedAddresses": nullable(ranges())})),
        "AllowedAddressesChange": closed(&["allowedAddresses"],
            json!({"allowedAddresses": ranges(), "force": {"type": ["boolean", "null"]}})),
        "Rotation": closed(&[], json!({"expiresInDays": {"type": ["integer", "null"], "minimum": 1,
            "maximum": LONGEST_LIFE, "description": "when the new secret ends by itself; absent: never"}})),
        "NewKey": closed(&["name", "publicKey"], json!({"name": title(), "publicKey": public_key()})),
        "NewTrustRule": closed(&["name", "issuer", "subject"], json!({
            "name": title(),
            "issuer": {"type": "string", "maxLength": 1000, "description": "`iss` of the tokens; https, public",
                "pattern": "^https://([a-z][a-z0-9]{0,30}\\.){1,3}[a-z]{2,10}(/[A-Za-z0-9._~-]+)*/?$"},
            "audience": nullable(claim("one of `aud`; absent: the hub's own address")),
            "subject": claim("`sub`"),
            "claims": {"type": ["object", "null"], "maxProperties": MOST_CLAIMS,
                "description": "further claims; a name that begins with `/` is a JSON Pointer into them",
                "propertyNames": {"pattern": "^[A-Za-z/][A-Za-z0-9._/~-]{0,99}$"},
                "additionalProperties": claim("its value, letter by letter")}})),
        "AgentChange": closed(&[], json!({"name": nullable(agent_name()), "description": nullable(description())})),
        "NewWebhook": closed(&["url", "events"], json!({
            "url": {"type": "string", "maxLength": 2000, "description": "https, public; a port and a query may follow",
                "pattern": "^https://([a-z][a-z0-9]{0,30}\\.){1,3}[a-z]{2,10}(/[A-Za-z0-9._~-]+)*$"},
            "events": {"type": "array", "minItems": 1, "items": {"enum": EVENTS.map(|(word, _)| word)}}})),
        "NewEmailRecipient": closed(&["email", "events"], json!({
            "email": {"type": "string", "maxLength": 254, "description": "where `HUB_SMTP_URL` sends it",
                "pattern": "^[a-z][a-z0-9]{0,30}@([a-z][a-z0-9]{0,30}\\.){1,3}[a-z]{2,10}$"},
            "events": {"type": "array", "minItems": 1, "items": {"enum": EVENTS.map(|(word, _)| word)}}})),
        "NewSetTimes": closed(&[], json!({"start": nullable(cron()), "stop": nullable(cron())})),
        "Check": closed(&["spec"], json!({"spec": asked})),
        "Discovery": closed(&["spec"], json!({"spec": searched, "schema": {"type": ["string", "null"],
            "description": "only this one; absent: all"}, "columns": {"type": ["boolean", "null"],
            "description": "absent: true"}})),
        "Rollback": closed(&["revision"], json!({"revision": {"type": "integer", "minimum": 1,
            "description": "whose body becomes that of a new revision"}})),
        "TokenRequest": {"type": "object", "required": ["grant_type"],
            "dependentRequired": {"client_assertion_type": ["client_assertion"]},
            "not": {"required": ["client_secret", "client_assertion_type"]}, "properties": {
            "grant_type": {"enum": ["client_credentials"]},
            "client_id": {"type": "string", "description": "where it is not in the `Authorization` header"},
            "client_secret": {"type": "string"},
            "client_assertion_type": {"enum": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]},
            "client_assertion": {"type": "string",
                "description": "in place of a secret: a JWT that the agent signed, or one of an issuer that a trust rule names"},
            "audience": {"type": "string", "description": "any"}}},
        "Token": object(&["access_token", "token_type", "expires_in"], json!({"access_token": text,
            "token_type": {"enum": ["Bearer"]}, "expires_in": {"type": "integer", "description": "seconds"}})),
        "TokenRefusal": object(&["error", "error_description"], json!({"error": text, "error_description": text, "code": text})),
        "Problem": object(&["type", "title", "status", "detail", "instance", "code", "traceId"], json!({
            "type": text, "title": text, "status": {"type": "integer"}, "detail": text, "instance": text,
            "code": {"type": "string", "description": "stable, for programs"},
            "traceId": {"type": "string", "description": "also in the hub's log"},
            "violations": {"type": "array", "items": object(&["field", "message"],
                json!({"field": text, "message": text}))}})),
    });
    match bodies {
        Value::Object(bodies) => bodies,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

/// Of a request: `null` means absent, whatever its member is called.
fn closed(required: &[&str], properties: Value) -> Value {
    let mut schema = object(required, properties);
    schema["additionalProperties"] = json!({"type": "null"});
    schema
}

fn nullable(mut schema: Value) -> Value {
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

fn new_agent(cloud: &str, places: &[&str]) -> Value {
    closed(
        &["name", "deployment", "cloudProvider", "agentType"],
        json!({"name": agent_name(), "description": nullable(description()), "cloudProvider": {"enum": [cloud]},
            "deployment": {"enum": places}, "agentType": {"enum": ["streaming"]}}),
    )
}

fn role() -> Value {
    json!({"enum": ["viewer", "editor", "owner"]})
}

fn nullable_word(mut schema: Value) -> Value {
    if let Some(words) = schema["enum"].as_array_mut() {
        words.push(Value::Null);
    }
    schema
}

/// Of an account, a project, an API client.
fn title() -> Value {
    let inner = format!("[^{CONTROL}]");
    let outer = format!("[^{CONTROL}{WHITE_SPACE}]");
    json!({"type": "string", "minLength": 1, "maxLength": 100, "pattern": format!("^{outer}({inner}*{outer})?$"),
        "description": "no space around it, no control characters"})
}

/// Of one kind, so that everything that fits it is taken; PEM of RSA and P-256 and JWKs are, too.
fn public_key() -> Value {
    let pem = "^-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEA[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\\n-----END PUBLIC KEY-----$";
    json!({"type": "string", "pattern": pem,
        "description": "PEM of Ed25519, P-256 or RSA (2048 to 4096 bits), or a JWK as a text"})
}

/// What a claim has to say.
fn claim(about: &str) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": LONGEST_VALUE, "pattern": format!("^[^{CONTROL}]+$"),
        "description": about})
}

fn email() -> Value {
    let part = format!("[^@<>{CONTROL}{WHITE_SPACE}]+");
    json!({"type": "string", "maxLength": 254, "pattern": format!("^{part}@{part}$")})
}

fn ranges() -> Value {
    const PART: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    let four = format!("^{PART}(\\.{PART}){{3}}(/(3[0-2]|[12]?[0-9]))?$");
    let six = "^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?$";
    json!({"type": "array", "maxItems": MOST_RANGES,
        "description": "addresses and ranges, IPv4 and IPv6: 203.0.113.0/24; empty: all",
        "items": {"type": "string", "anyOf": [{"pattern": four}, {"pattern": six}, {"format": "ipv6"}]}})
}

fn agent_name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 30,
        "pattern": format!("^[A-Za-z0-9_-][A-Za-z0-9_{WHITE_SPACE}-]*$")})
}

/// Narrower than what is taken, so that everything that fits it is.
fn cron() -> Value {
    json!({"type": "string", "description": "minute, hour, day of month, month, day of week; in UTC",
        "examples": ["0 6 * * 1-5"], "pattern": r"^([1-5]?\d|\*) (1?\d|2[0-3]|\*) \* \* ([0-6]|1-5|\*)$"})
}

fn description() -> Value {
    json!({"type": "string", "maxLength": 500})
}
