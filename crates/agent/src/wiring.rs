//! Puts source, target and engine together from a pipeline's spec. The only room that knows which packages there are.

use std::sync::Arc;

use millrace_engine::{Engine, Settings};
use millrace_files::Files;
use millrace_model::{Fault, Finding};
use millrace_postgres::{Password, Postgres, TableSelection};
use millrace_protocol::{
    Binary, Compression, DecimalMapping, Format, Layout, PLAIN_CONNECTION, PipelineSpec, PublicationMode, SchemaChange,
    SnapshotMode, SourcePart, SourceSpec, TargetPart, TargetSpec,
};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::clock::SystemClock;
use crate::stores;

pub use millrace_postgres::{CleanupPlan, DiscoveredTable};
pub use millrace_secrets::Secrets;

/// Code of what `millrace_protocol` should have refused.
const NOT_BUILT: &str = "AG-011";

/// Whose chain it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Without a hub the pipeline's name, under one its id.
    pub pipeline: String,
    /// Under a hub the epoch that it was given under.
    pub epoch: Option<u64>,
}

impl Identity {
    /// Of a pipeline without a hub.
    pub fn of_name(spec: &PipelineSpec) -> Self {
        Self { pipeline: spec.name.clone(), epoch: None }
    }
}

/// The source. Its password is read when it first connects, and again whenever it may have been rotated.
pub fn source<'a>(part: impl Into<SourcePart<'a>>, secrets: &Secrets) -> Result<Postgres, Fault> {
    let part = part.into();
    let SourceSpec::Postgres { connection, database } = part.source else {
        return Err(Fault::defect(NOT_BUILT, "a source that is not built was not refused"));
    };
    let password = connection.password.as_ref().map(|reference| Password::of(secrets.keep(reference)));
    let select = |table: &millrace_protocol::TableSpec| TableSelection {
        schema: table.schema.clone(),
        table: table.table.clone(),
    };
    Ok(Postgres::new(millrace_postgres::Settings {
        host: connection.host.clone(),
        port: connection.port,
        database: database.clone(),
        username: connection.username.clone(),
        password,
        tables: part.tables.iter().map(select).collect(),
        slot: part.slot_name(),
        slot_is_default: part.advanced.slot_name.is_none(),
        publication: part.publication_name(),
        publication_is_default: part.advanced.publication_name.is_none(),
        publication_mode: match part.advanced.publication_mode {
            PublicationMode::Create => millrace_postgres::PublicationMode::Create,
            PublicationMode::Use => millrace_postgres::PublicationMode::Use,
        },
        binary: match part.advanced.pgoutput_binary {
            Binary::Auto => millrace_postgres::Binary::Auto,
            Binary::On => millrace_postgres::Binary::On,
            Binary::Off => millrace_postgres::Binary::Off,
        },
        streaming: part.advanced.pgoutput_streaming,
        snapshots: part.advanced.snapshot_mode == SnapshotMode::Initial,
        old_rows: part.old_rows,
    }))
}

/// What the pipeline file itself gives reason to say, as far as it holds at this server: that the connection is not
/// encrypted although `prefer` would like it to be is worth saying only where the server offers it.
pub async fn file_findings(mut findings: Vec<Finding>, source: Option<&Postgres>) -> Vec<Finding> {
    let plain = |finding: &Finding| finding.code == PLAIN_CONNECTION;
    if let Some(source) = source.filter(|_| findings.iter().any(plain)) {
        // Without an answer nothing is known of it; the check proper says so.
        if !source.offers_tls().await.unwrap_or(false) {
            findings.retain(|finding| !plain(finding));
        }
    }
    findings
}

/// The target. Opens nothing yet.
pub fn target<'a>(part: impl Into<TargetPart<'a>>, identity: &Identity, secrets: &Secrets) -> Result<Files, Fault> {
    let part = part.into();
    let store = stores::store(&part.target.store, part.advanced.memory_limit, secrets)?;
    let settings = millrace_files::Settings {
        prefix: part.target.prefix.clone(),
        form: form(part.target),
        file_max_bytes: part.advanced.file_max_bytes,
        pipeline: identity.pipeline.clone(),
        // Made anew by each process: it tells the commits of two processes apart.
        instance: Uuid::now_v7().to_string(),
        epoch: identity.epoch,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Files::new(settings, store, Arc::new(SystemClock)))
}

/// What the target's data files are.
fn form(target: &TargetSpec) -> millrace_files::Form {
    millrace_files::Form {
        format: match target.format {
            Format::Avro => millrace_files::Format::Avro,
            Format::Parquet => millrace_files::Format::Parquet,
            Format::Json => millrace_files::Format::Json,
        },
        layout: match target.layout {
            Layout::Envelope => millrace_files::Layout::Envelope,
            Layout::Flat => millrace_files::Layout::Flat,
        },
        compression: match target.compression {
            Compression::Zstd => millrace_files::Compression::Zstd,
            Compression::Snappy => millrace_files::Compression::Snappy,
            Compression::Deflate => millrace_files::Compression::Deflate,
            Compression::Gzip => millrace_files::Compression::Gzip,
            Compression::None => millrace_files::Compression::None,
        },
        decimals: match target.decimals {
            DecimalMapping::Logical => millrace_files::Decimals::Logical,
            DecimalMapping::Legacy => millrace_files::Decimals::Legacy,
        },
    }
}

/// The engine between the two.
pub fn engine<'a>(
    part: impl Into<TargetPart<'a>>,
    identity: &Identity,
    source: Postgres,
    until_now: bool,
    secrets: &Secrets,
) -> Result<Engine, Fault> {
    let part = part.into();
    let advanced = part.advanced;
    Ok(Engine {
        source: Arc::new(source),
        target: Arc::new(target(part, identity, secrets)?),
        clock: Arc::new(SystemClock),
        settings: Settings {
            commit_interval: advanced.commit_interval,
            commit_bytes: advanced.commit_bytes,
            heartbeat_interval: advanced.heartbeat_interval,
            memory_limit: advanced.memory_limit,
            stop_deadline: advanced.stop_deadline,
            spill_directory: advanced.spill_directory.clone().unwrap_or_else(std::env::temp_dir),
            spill_limit: advanced.spill_limit,
            snapshot: advanced.snapshot_mode == SnapshotMode::Initial,
            snapshot_parallelism: advanced.snapshot_parallelism as usize,
            stop_at_schema_change: advanced.schema_change == SchemaChange::Stop,
            until_now,
            epoch: identity.epoch,
            ..Settings::new(identity.pipeline.clone())
        },
    })
}

/// What the newest commit says.
pub async fn status(files: &Files) -> Result<Value, Fault> {
    as_json(&millrace_files::status(files).await?)
}

/// Whether the lake is whole.
pub async fn fsck(files: &Files) -> Result<Value, Fault> {
    as_json(&millrace_files::fsck(files).await?)
}

/// Gives `out` the rows of a table, one line of JSON each.
pub async fn read(
    files: &Files,
    table: &str,
    state: bool,
    out: &mut (dyn FnMut(&str) -> Result<(), Fault> + Send),
) -> Result<(), Fault> {
    millrace_files::read(files, table, state, out).await
}

fn as_json(result: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(result).map_err(|error| Fault::defect("AG-012", "a result is no JSON").because(error))
}
