//! An address where there is nothing: a page for a browser, a problem for a program.

use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};

use super::guard;
use super::page::Mishap;
use super::show::MANNERS;
use crate::fault::Refused;
use crate::web::problem;

/// Below these only programs look for something.
const FOR_PROGRAMS: [&str; 5] = ["/v1", "/dpc", "/agent/v1", "/oauth", "/.well-known"];

/// Answers for every path that has no route.
pub(crate) async fn no_such_path(uri: Uri, headers: HeaderMap) -> Response {
    if !is_read_by_people(uri.path(), &headers) {
        return problem::no_such_path(&uri).into_response();
    }
    let page = || Mishap::from(Refused::NotFound("this page")).into_response();
    let mut response = MANNERS.sync_scope(guard::manners(&headers), page);
    guard::put(response.headers_mut(), false);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn is_read_by_people(path: &str, headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let below = |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    accepted.contains("text/html") && !FOR_PROGRAMS.iter().any(|base| below(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_a_page_and_whoever_asks_the_api_a_problem() {
        let mut browser = HeaderMap::new();
        browser.insert(header::ACCEPT, header::HeaderValue::from_static("text/html,*/*;q=0.8"));
        assert!(is_read_by_people("/agent", &browser));
        assert!(is_read_by_people("/v1x", &browser));
        assert!(!is_read_by_people("/v1/agent", &browser));
        assert!(!is_read_by_people("/agent", &HeaderMap::new()));
    }
}
