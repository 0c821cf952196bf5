//! The last resort: a handler that panics costs its own request, and its caller is told so as of anything else. No 500 leaves the
//! hub without a line in its log that says why.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::trace;
use crate::caught::caught;
use crate::fault::Refused;

/// The framework says why in a sentence.
const LONGEST_CAUSE: usize = 4 << 10;

/// Runs what is behind it.
pub(crate) async fn last_resort(request: Request, next: Next) -> Response {
    match caught(next.run(request)).await {
        Ok(answer) if answer.status() == StatusCode::INTERNAL_SERVER_ERROR && !trace::is_told() => told(answer).await,
        Ok(answer) => answer,
        Err(panic) => Refused::failed(format!("a handler panicked: {panic}")).into_response(),
    }
}

/// A 500 of the framework's own, whose body is for the log and not for the caller.
async fn told(answer: Response) -> Response {
    let cause = match to_bytes(answer.into_body(), LONGEST_CAUSE).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => error.to_string(),
    };
    Refused::failed(format!("the answer could not be made: {cause}")).into_response()
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write};
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::response::Redirect;
    use axum::routing::get;
    use tower::ServiceExt;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    async fn broken() -> &'static str {
        let number: u8 = "none".parse().expect("this test needs a panic");
        if number == 0 { "zero" } else { "more" }
    }

    /// The fields of every line of the log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<String>>);

    struct Fields<'a>(&'a mut String);

    impl Visit for Fields<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, "{}={value:?} ", field.name()).expect("a text takes more");
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut Fields(&mut self.0.lock().expect("nobody panics here")));
        }
    }

    #[tokio::test]
    async fn every_500_is_a_problem_that_says_nothing_and_a_line_of_the_log_that_says_why() {
        let lines = Lines::default();
        let _log = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
        let refused = || async { Refused::failed("the cellar is flooded") };
        let router = Router::new()
            .route("/panic", get(broken))
            .route("/header", get(|| async { Redirect::to("/\0") }))
            .route("/failed", get(refused))
            .layer(from_fn(last_resort))
            .layer(from_fn(trace::traced));
        for (path, cause) in [("/panic", "a handler panicked"), ("/header", "header"), ("/failed", "cellar")] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 500);
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], "failed");
            assert!(!problem.to_string().contains(cause), "{problem}");
            let id = problem["traceId"].as_str().unwrap();
            assert_eq!(id.len(), 32, "{problem}");
            let written = std::mem::take(&mut *lines.0.lock().unwrap());
            assert_eq!(written.matches("HB-017").count(), 1, "{written}");
            assert!(written.contains(cause) && written.contains(id), "{written}");
        }
    }
}
