//! Figures over time, of a pipeline and of an agent.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use millrace_model::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::app::figures::{Bucket, Course};
use crate::db::figures::Counter;
use crate::fault::Refused;
use crate::web::request::{ApiCaller, Asked, Ids};

/// The range where nobody asks for another one: an hour.
const USUAL: i64 = 3_600 * 1_000_000;
const SECOND: i64 = 1_000_000;

/// Figures of a pipeline from `from` to `to`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PipelineMetrics {
    from: String,
    to: String,
    step_seconds: i64,
    /// How far the samples beneath are apart
    resolution_seconds: i64,
    /// Sums over the range
    total: Sums,
    /// When runs of the pipeline began
    runs: Vec<String>,
    points: Vec<PipelinePoint>,
}

/// What was committed, by kind.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sums {
    rows: u64,
    bytes: u64,
    inserts: u64,
    updates: u64,
    deletes: u64,
    truncates: u64,
    /// rows of snapshots
    reads: u64,
    commits: u64,
}

/// Figures from `at` on, for `stepSeconds`. What nobody has reported is absent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PipelinePoint {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lag_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    lag_seconds_max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rows_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    changes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    commits_per_second: Option<f64>,
    /// mean of the commits in it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    commit_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    source_retained_bytes: Option<i64>,
}

/// Figures of an agent's processes from `from` to `to`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentMetrics {
    from: String,
    to: String,
    step_seconds: i64,
    /// How far the samples beneath are apart
    resolution_seconds: i64,
    /// When its processes began
    runs: Vec<String>,
    points: Vec<AgentPoint>,
}

/// Figures from `at` on, for `stepSeconds`. What nobody has reported is absent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentPoint {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    memory_bytes: Option<i64>,
    /// 1 is one processor that had nothing else to do
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cpu: Option<f64>,
}

/// Three digits after the point are more than anybody reads.
fn short(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn changes(bucket: &Bucket) -> Option<f64> {
    let kinds = [Counter::Inserts, Counter::Updates, Counter::Deletes, Counter::Truncates];
    let each: Option<Vec<f64>> = kinds.into_iter().map(|kind| bucket.per_second(kind)).collect();
    each.map(|each| each.into_iter().sum())
}

fn pipeline_point(bucket: &Bucket) -> PipelinePoint {
    let rate = |counter| bucket.per_second(counter).map(short);
    PipelinePoint {
        at: bucket.at.to_string(),
        lag_seconds: bucket.lag().map(short),
        lag_seconds_max: bucket.lag_most.map(short),
        rows_per_second: rate(Counter::Rows),
        bytes_per_second: rate(Counter::Bytes),
        changes_per_second: changes(bucket).map(short),
        commits_per_second: rate(Counter::Commits),
        commit_seconds: bucket.commit_time().map(short),
        source_retained_bytes: bucket.retained,
    }
}

fn agent_point(bucket: &Bucket) -> AgentPoint {
    AgentPoint {
        at: bucket.at.to_string(),
        memory_bytes: bucket.memory,
        cpu: bucket.per_second(Counter::Cpu).map(|milliseconds| short(milliseconds / 1000.0)),
    }
}

/// The course that a query asks for.
async fn asked(app: &App, id: &str, query: &Asked) -> Result<Course, Refused> {
    let to = query.moment("to")?.unwrap_or_else(|| app.now());
    let from = query.moment("from")?.unwrap_or(Timestamp(to.0 - USUAL));
    let step = query.whole("step", 1)?.map(|seconds| seconds.saturating_mul(SECOND));
    app.course(id, (from, to), step).await
}

fn runs(course: &Course) -> Vec<String> {
    course.runs.iter().map(ToString::to_string).collect()
}

/// Lag, rates and commit times of a pipeline: by the quarter of an hour for thirteen months, finer for the last two days.
#[utoipa::path(get, path = "/projects/{project}/streaming-pipelines/{id}/metrics", operation_id = "readPipelineMetrics",
    tag = "pipelines",
    params(("from" = inline(Option<String>), Query, format = "date-time", description = "absent: an hour before `to`"),
        ("to" = inline(Option<String>), Query, format = "date-time", description = "absent: now"),
        ("step" = inline(Option<i64>), Query, minimum = 1,
            description = "seconds from point to point; wider where there are none so fine, or more than 1,500 of them")),
    responses((status = 200, description = "Figures", body = PipelineMetrics)))]
pub(crate) async fn of_pipeline(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids((project, id)): Ids<(String, String)>,
    query: Asked,
) -> Result<Json<PipelineMetrics>, Refused> {
    let pipeline = app.pipeline(&caller, &project, &id).await?;
    let course = asked(&app, &pipeline.id, &query).await?;
    let total = Sums {
        rows: course.sum(Counter::Rows),
        bytes: course.sum(Counter::Bytes),
        inserts: course.sum(Counter::Inserts),
        updates: course.sum(Counter::Updates),
        deletes: course.sum(Counter::Deletes),
        truncates: course.sum(Counter::Truncates),
        reads: course.sum(Counter::Reads),
        commits: course.sum(Counter::Commits),
    };
    Ok(Json(PipelineMetrics {
        from: course.from.to_string(),
        to: course.to.to_string(),
        step_seconds: course.step / SECOND,
        resolution_seconds: course.resolution / SECOND,
        total,
        runs: runs(&course),
        points: course.buckets.iter().map(pipeline_point).collect(),
    }))
}

/// Memory and processor time of an agent's processes, as long and as fine as those of pipelines.
#[utoipa::path(get, path = "/agents/{id}/metrics", operation_id = "readAgentMetrics", tag = "agents",
    params(("from" = inline(Option<String>), Query, format = "date-time", description = "absent: an hour before `to`"),
        ("to" = inline(Option<String>), Query, format = "date-time", description = "absent: now"),
        ("step" = inline(Option<i64>), Query, minimum = 1,
            description = "seconds from point to point; wider where there are none so fine, or more than 1,500 of them")),
    responses((status = 200, description = "Figures", body = AgentMetrics)))]
pub(crate) async fn of_agent(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    query: Asked,
) -> Result<Json<AgentMetrics>, Refused> {
    let agent = app.agent(&caller, &id).await?;
    let course = asked(&app, &agent.id, &query).await?;
    Ok(Json(AgentMetrics {
        from: course.from.to_string(),
        to: course.to.to_string(),
        step_seconds: course.step / SECOND,
        resolution_seconds: course.resolution / SECOND,
        runs: runs(&course),
        points: course.buckets.iter().map(agent_point).collect(),
    }))
}
