//! Keys in the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.

use async_trait::async_trait;
use millrace_model::SecretValue;

use crate::aws::{AwsCredentials, Step};
use crate::fault::{Cause, Nothing};
use crate::surroundings::Surroundings;

pub(super) struct Environment;

#[async_trait]
impl Step for Environment {
    async fn obtain(&self, around: &Surroundings) -> Result<AwsCredentials, Nothing> {
        let half = |there: &str, missing: &str| {
            let cure = format!("set {missing} too, or unset {there}");
            Cause::Wrong { place: there.to_owned(), reason: format!("{missing} is not set"), cure }
        };
        match (around.variable("AWS_ACCESS_KEY_ID"), around.variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(key_id), Some(secret_key)) => Ok(AwsCredentials {
                from: format!("the access key {key_id} of AWS_ACCESS_KEY_ID"),
                key_id,
                secret_key: SecretValue::new(secret_key),
                session_token: around.variable("AWS_SESSION_TOKEN").map(SecretValue::new),
                expires: None,
            }),
            (None, None) => Err(Nothing::Absent("AWS_ACCESS_KEY_ID is not set".into())),
            (Some(_), None) => Err(half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY").into()),
            (None, Some(_)) => Err(half("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID").into()),
        }
    }
}
