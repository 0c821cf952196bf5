//! The REST API: `rest-api.md` word for word, one file a resource.

pub(crate) mod agents;
pub(crate) mod health;
pub(crate) mod pipelines;
pub(crate) mod token;

use serde::Serialize;

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Listed<T> {
    results: Vec<T>,
    page: i64,
    size: i64,
    total: i64,
}
