//! Refusals as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::trace;
use crate::fault::{Refused, Violation};

/// Seconds after which it is worth asking again, where the database is away.
pub(in crate::web) const UNAVAILABLE: u64 = 10;

/// What a caller is told.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
    instance: String,
    code: String,
    trace_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Violation>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let occurrence = Uuid::now_v7();
        Self {
            kind: format!("/docs/problems/{code}"),
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: occurrence.urn().to_string(),
            code: code.to_owned(),
            trace_id: trace::id(),
            violations: Vec::new(),
            retry_after: None,
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        match refused {
            Refused::Invalid(violations) => {
                Self { violations, ..Self::new(StatusCode::BAD_REQUEST, "invalid", detail) }
            }
            Refused::Unauthenticated(_) => Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail),
            Refused::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", detail),
            Refused::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Refused::Conflict { code, .. } => Self::new(StatusCode::CONFLICT, code, detail),
            Refused::Stale => Self::new(StatusCode::PRECONDITION_FAILED, "stale", detail),
            Refused::Gone { code, .. } => Self::new(StatusCode::GONE, code, detail),
            Refused::TooMany { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail)
            },
            Refused::Unavailable(cause) => {
                trace::failed(&cause);
                Self {
                    retry_after: Some(UNAVAILABLE),
                    ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
                }
            }
            Refused::Failed(cause) => {
                trace::failed(&cause);
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// No route of this path.
pub(crate) fn no_such_path(uri: &Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", format!("there is nothing at `{}`", uri.path()))
}

/// A route of this path, but not with this method. axum adds `Allow`.
pub(crate) async fn no_such_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", "this path does not take this method")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_503_and_says_when_to_come_again() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for away in [sqlx::Error::PoolTimedOut, sqlx::Error::Io(refused)] {
            let response = Refused::from(away).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], "10");
        }
        let response = Refused::from(sqlx::Error::RowNotFound).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!response.headers().contains_key("retry-after"));
    }
}
