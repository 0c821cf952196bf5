//! The REST API: `rest-api.md` word for word, one file a resource.

pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod clients;
pub(crate) mod commands;
pub(crate) mod credentials;
pub(crate) mod email_recipients;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod install;
pub(crate) mod metrics;
pub(crate) mod pipelines;
pub(crate) mod projects;
mod recipients;
pub(crate) mod set_times;
pub(crate) mod settings;
pub(crate) mod token;
pub(crate) mod trust;
pub(crate) mod users;
pub(crate) mod webhooks;
pub(crate) mod well_known;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use serde_json::Value;

use crate::db::part::After;
use crate::fault::Refused;
use crate::web::request::{Page, Slice};

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Listed<T> {
    results: Vec<T>,
    page: i64,
    size: i64,
    total: i64,
}

impl<T> Listed<T> {
    /// A page of a list that is short enough to be read whole.
    fn page_of(all: Vec<T>, page: Page) -> Self {
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let whole = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let results = all.into_iter().skip(whole(page.page.saturating_mul(page.size))).take(whole(page.size));
        Self::new(results.collect(), page, total)
    }

    fn new(results: Vec<T>, page: Page, total: i64) -> Self {
        Self { results, page: page.page, size: page.size, total }
    }
}

/// A part of a list that may be long, with the way to the next one.
fn part<T>(
    slice: &Slice,
    (results, total): (Vec<T>, i64),
    next: Option<&After>,
) -> Result<(HeaderMap, Json<Listed<T>>), Refused> {
    let mut headers = HeaderMap::new();
    if let Some(next) = next {
        headers.insert(header::LINK, slice.next(next)?);
    }
    Ok((headers, Json(Listed::new(results, slice.page(), total))))
}

/// A header with a value of ours.
fn with(name: header::HeaderName, value: &str) -> Result<[(header::HeaderName, HeaderValue); 1], Refused> {
    Ok([(name, HeaderValue::from_str(value).map_err(|error| Refused::Failed(Box::new(error)))?)])
}

fn json(text: &str) -> Result<Value, Refused> {
    serde_json::from_str(text).map_err(|error| Refused::Failed(Box::new(error)))
}
