//! The last resort: a handler that panics costs its own request, and its caller is told so as of anything else.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::fault::Refused;

/// Runs what is behind it.
pub(crate) async fn last_resort(request: Request, next: Next) -> Response {
    let mut answer = pin!(next.run(request));
    // Nothing of a request outlives it but the database, whose transaction is rolled back.
    let outcome = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(response)) => Poll::Ready(Ok(response)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await;
    outcome.unwrap_or_else(|panic| Refused::failed(format!("a handler panicked: {}", said(&*panic))).into_response())
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn broken() -> &'static str {
        let number: u8 = "none".parse().expect("this test needs a panic");
        if number == 0 { "zero" } else { "more" }
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_with_a_trace_id_and_says_nothing_of_itself() {
        let router = Router::new().route("/", get(broken)).layer(axum::middleware::from_fn(last_resort));
        let answer = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["code"], "failed");
        assert!(problem["traceId"].as_str().is_some_and(|id| id.len() == 32), "{problem}");
        assert!(!problem.to_string().contains("panic"), "{problem}");
    }
}
