//! The pipeline file from the outside: what is accepted, what is refused, and that documentation and schema agree.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails, and one looks for what it looks for"
)]

mod accepted;
mod body;
mod documents;
mod refused;

use std::path::Path;

use millrace_protocol::{Notation, PipelineSpec, Problems};

/// The first example of the contract: PostgreSQL to local Parquet.
const SHOP: &str = include_str!("shop.yaml");
/// The second: MySQL to S3 Avro.
const BILLING: &str = include_str!("billing.yaml");

fn parse(text: &str) -> Result<PipelineSpec, Problems> {
    PipelineSpec::parse(text, Notation::Yaml, Path::new("/etc/millrace"))
}

/// The problems as `path: message`.
fn problems(text: &str) -> Vec<String> {
    let problems = parse(text).expect_err("the file should have been refused");
    problems.0.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}
