//! What answers beside a process: ECS and EKS below `/v2/credentials`, the machine below `/latest`.

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{State, rfc3339};
use crate::clouds::{Asked, json as answer};

/// Longest life of a session with the metadata service, in seconds.
const LONGEST: u32 = 21_600;

impl State {
    pub(super) fn beside(&mut self, asked: &Asked) -> Response {
        match (&asked.method, asked.path.as_str()) {
            (&Method::GET, "/v2/credentials/task") => self.container(asked),
            (&Method::PUT, "/latest/api/token") => self.session(asked),
            (&Method::GET, path) if path.starts_with("/latest/meta-data/") => {
                let is_begun = asked.header("x-aws-ec2-metadata-token").is_some_and(|it| self.sessions.contains(it));
                if is_begun { self.metadata(path) } else { StatusCode::UNAUTHORIZED.into_response() }
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn container(&mut self, asked: &Asked) -> Response {
        if self.container_token.as_deref() != asked.header("authorization") {
            return answer(401, &json!({"code": "AccessDenied", "message": "the token is not that of a pod"}));
        }
        self.credentials("arn:aws:sts::123456789012:assumed-role/task/1")
    }

    fn session(&mut self, asked: &Asked) -> Response {
        let life = asked.header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|it| it.parse::<u32>().ok());
        // The real one answers nothing to a request that came by way of a proxy.
        if life.is_none_or(|life| life == 0 || life > LONGEST) || asked.header("x-forwarded-for").is_some() {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let session = format!("session-{}==", self.sessions.len());
        self.sessions.insert(session.clone());
        session.into_response()
    }

    fn metadata(&mut self, path: &str) -> Response {
        let role = self.machine_role.clone();
        match (path.trim_start_matches("/latest/meta-data/"), role) {
            ("placement/region", _) => "eu-central-1".into_response(),
            ("iam/security-credentials/", Some(role)) => role.into_response(),
            (within, Some(role)) if within == format!("iam/security-credentials/{role}") => {
                self.credentials("arn:aws:sts::123456789012:assumed-role/machine/i-1")
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn credentials(&mut self, arn: &str) -> Response {
        let (id, key) = self.temporary(arn.to_owned());
        let end = rfc3339(key.ends.unwrap_or_default());
        answer(
            200,
            &json!({"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": key.secret,
            "Token": key.token, "Expiration": end, "LastUpdated": rfc3339(self.now())}),
        )
    }
}
