//! The pipeline as it was written: every value checked, every default filled in, every path made absolute to the file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use millrace_model::{Finding, SecretReference};

use crate::advanced::{AdvancedProperties, words};
use crate::connection::check_postgres;
use crate::fault::{NOT_VALID, Problem, Problems, Wrong};
use crate::fields::{FILE, FORMATS};
use crate::properties;
use crate::tree::{Node, Notation};
use crate::validate::{Report, validate};

/// One pipeline.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    /// Its name.
    pub name: String,
    /// Where changes come from.
    pub source: SourceSpec,
    /// Which tables, at least one, none twice.
    pub tables: Vec<TableSpec>,
    /// Where they go to.
    pub target: TargetSpec,
    /// Fine tuning.
    pub advanced: AdvancedProperties,
    /// What is worth saying about the file; never errors.
    pub findings: Vec<Finding>,
    /// What it asks for that this version cannot do: `runnable` refuses it.
    pub unbuilt: Vec<Problem>,
}

/// A table, or with the name `*` all tables of a schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableSpec {
    /// The schema; for MySQL the database.
    pub schema: String,
    /// The table, or `*`.
    pub table: String,
}

/// Where changes come from.
#[derive(Clone, Debug)]
pub enum SourceSpec {
    /// PostgreSQL.
    Postgres {
        /// How to reach it.
        connection: ConnectionSpec,
        /// Name of the database.
        database: String,
    },
    /// MySQL or MariaDB.
    Mysql {
        /// How to reach it.
        connection: ConnectionSpec,
    },
}

/// How to reach a database.
#[derive(Clone, Debug)]
pub struct ConnectionSpec {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User to log in as.
    pub username: String,
    /// Where the password is to be found; `None` where the server asks for none.
    pub password: Option<SecretReference>,
    /// As written.
    pub jdbc_properties: Vec<(String, String)>,
}

/// Where changes go to.
#[derive(Clone, Debug)]
pub struct TargetSpec {
    /// The store.
    pub store: StoreSpec,
    /// Folder inside it, without outer slashes; empty for the root.
    pub prefix: String,
    /// Format of the files.
    pub format: Format,
    /// Layout of the records.
    pub layout: Layout,
    /// Compression of the files; one that the format has.
    pub compression: Compression,
    /// How decimals stand in the files.
    pub decimals: DecimalMapping,
}

/// A place for files.
#[derive(Clone, Debug)]
pub enum StoreSpec {
    /// A folder.
    Local {
        /// Absolute, or relative to the working directory.
        path: PathBuf,
    },
    /// Amazon S3 and what speaks its language.
    S3(S3Spec),
    /// Azure Blob Storage.
    Abs(AbsSpec),
    /// Google Cloud Storage.
    Gcs(GcsSpec),
}

/// A bucket of S3.
#[derive(Clone, Debug)]
pub struct S3Spec {
    /// Its name.
    pub bucket: String,
    /// Its region; where it is left out, the environment says it.
    pub region: Option<String>,
    /// Address of a service that is not Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of addresses; left out: if there is an endpoint.
    pub path_style: Option<bool>,
    /// Key to encrypt with.
    pub kms_key_id: Option<String>,
    /// Storage class of data files.
    pub storage_class: Option<String>,
    /// Whether the requester pays.
    pub requester_pays: bool,
    /// Tags of every object.
    pub tags: Vec<(String, String)>,
    /// A role to take.
    pub role_arn: Option<String>,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
}

/// A container of Azure Blob Storage.
#[derive(Clone, Debug)]
pub struct AbsSpec {
    /// Its name.
    pub container: String,
    /// Its storage account.
    pub account_name: String,
    /// Where the account's key is to be found; without it the environment says who millrace is.
    pub account_key: Option<SecretReference>,
    /// Address of the account, if not the usual one.
    pub endpoint: Option<String>,
}

/// A bucket of Google Cloud Storage.
#[derive(Clone, Debug)]
pub struct GcsSpec {
    /// Its name.
    pub bucket: String,
    /// Address of a service that is not Google's.
    pub endpoint: Option<String>,
    /// Key to encrypt with.
    pub kms_key_name: Option<String>,
    /// Storage class of data files.
    pub storage_class: Option<String>,
    /// Project that pays for requests.
    pub user_project: Option<String>,
}

words! {
    /// Format of the files.
    Format {
        /// Apache Avro.
        Avro = "avro",
        /// Apache Parquet.
        Parquet = "parquet",
        /// JSON lines.
        Json = "json",
    }
}

words! {
    /// Layout of the records.
    Layout {
        /// `before` and `after` side by side.
        Envelope = "envelope",
        /// Columns on top.
        Flat = "flat",
    }
}

words! {
    /// How decimals stand in the files.
    DecimalMapping {
        /// As decimals.
        Logical = "logical",
        /// As texts.
        Legacy = "legacy",
    }
}

words! {
    /// Compression of the files.
    Compression {
        /// Zstandard.
        Zstd = "zstd",
        /// Snappy.
        Snappy = "snappy",
        /// None.
        None = "none",
        /// Deflate.
        Deflate = "deflate",
        /// Gzip.
        Gzip = "gzip",
    }
}

impl PipelineSpec {
    /// Reads a file's text. `folder` is the one it lies in, which relative paths are relative to. Refused with every
    /// problem at once; what is valid but not built yet is left to [`Self::runnable`], unless there are problems anyway.
    pub fn parse(text: &str, notation: Notation, folder: &Path) -> Result<Self, Problems> {
        let node = Node::parse(text, notation)?;
        let mut report = Report::default();
        validate(&node, &FILE, "", &mut report);
        let kind =
            child(&node, &["streamingSource", "type"]).and_then(Node::as_text).unwrap_or_default().to_lowercase();
        let properties = properties::read(node.get("advancedProperties"), &kind, &mut report);
        if kind == "postgres" {
            check_postgres(child(&node, &["streamingSource", "connection", "jdbcProperties"]), &mut report);
        }
        let tables = tables(&node, &mut report);
        let target = target(&node, folder, &mut report);
        let advanced = properties.settings(folder);
        if !report.problems.is_empty() {
            return Err(Problems(report.problems.into_iter().chain(report.unbuilt).collect()));
        }
        let (Some(source), Some(target), Some(advanced)) = (source(&node, &kind), target, advanced) else {
            return Err(unreadable(report));
        };
        let name = text_of(&node, "name");
        Ok(Self { name, source, tables, target, advanced, findings: report.findings, unbuilt: report.unbuilt })
    }

    /// Refuses what this version cannot do.
    pub fn runnable(self) -> Result<Self, Problems> {
        if self.unbuilt.is_empty() { Ok(self) } else { Err(Problems(self.unbuilt)) }
    }

    /// Name of the replication slot: the written one, or the default.
    pub fn slot_name(&self) -> String {
        self.source_part().slot_name()
    }

    /// Name of the publication: the written one, or the default.
    pub fn publication_name(&self) -> String {
        self.source_part().publication_name()
    }
}

/// Why a file that has no problem is none all the same.
pub(crate) fn unreadable(report: Report) -> Problems {
    if !report.unbuilt.is_empty() {
        return Problems(report.unbuilt);
    }
    let cure = "hold it against the example in docs/specs/pipeline.md";
    Problem::new(NOT_VALID, "", "the file could not be read as a pipeline", cure).into()
}

pub(crate) fn child<'a>(node: &'a Node, path: &[&str]) -> Option<&'a Node> {
    path.iter().try_fold(node, |node, name| node.get(name))
}

/// The text of a field; empty where there is none, which for a required field has been reported before.
pub(crate) fn text_of(node: &Node, name: &str) -> String {
    node.get(name).and_then(Node::as_text).unwrap_or_default().to_owned()
}

pub(crate) fn source(node: &Node, kind: &str) -> Option<SourceSpec> {
    let written = child(node, &["streamingSource", "connection"])?;
    let connection = ConnectionSpec {
        host: text_of(written, "host"),
        port: written.get("port").and_then(Node::as_whole).and_then(|port| u16::try_from(port).ok())?,
        username: text_of(written, "username"),
        password: written.get("password").map(secret),
        jdbc_properties: texts(written.get("jdbcProperties")),
    };
    match kind {
        "postgres" => Some(SourceSpec::Postgres { connection, database: text_of(written, "database") }),
        "mysql" => Some(SourceSpec::Mysql { connection }),
        _ => None,
    }
}

fn secret(node: &Node) -> SecretReference {
    SecretReference {
        store: text_of(node, "secretType").to_lowercase(),
        name: text_of(node, "secretName"),
        key: node.get("key").and_then(Node::as_text).map(str::to_owned),
    }
}

/// The tables, none twice.
pub(crate) fn tables(node: &Node, report: &mut Report) -> Vec<TableSpec> {
    let mut seen = BTreeSet::new();
    let mut tables = Vec::new();
    for (index, node) in child(node, &["streamingSource", "tables"]).map_or(&[][..], Node::elements).iter().enumerate()
    {
        let table = TableSpec { schema: text_of(node, "schema"), table: text_of(node, "table") };
        if !seen.insert(table.clone()) {
            let twice = format!("`{}.{}` stands twice", table.schema, table.table);
            let path = format!("streamingSource.tables[{index}]");
            report.problem(Wrong::new(twice, "keep one of the two").at(path, node.line));
        }
        tables.push(table);
    }
    tables
}

/// Refuses a compression that the target's format does not have.
pub(crate) fn check_compression(target: &Node, report: &mut Report) {
    let word = |name: &str| target.get(name).and_then(Node::as_text).map(str::to_lowercase);
    let format = word("format").unwrap_or_else(|| "avro".into());
    let (Some(compression), Some((_, known))) = (word("compression"), FORMATS.iter().find(|(name, _)| *name == format))
    else {
        return;
    };
    if !known.iter().any(|(name, _)| *name == compression) && Compression::from_word(&compression).is_some() {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let wrong = format!("{format} files can be {}, not `{compression}`", names.join(", "));
        let line = target.get("compression").map_or(0, |node| node.line);
        let cure = format!("write `compression: {}`, or leave it out", names.first().unwrap_or(&""));
        report.problem(Wrong::new(wrong, cure).at("streamingTarget.compression", line));
    }
}

pub(crate) fn target(node: &Node, folder: &Path, report: &mut Report) -> Option<TargetSpec> {
    let node = node.get("streamingTarget")?;
    let word = |name: &str| node.get(name).and_then(Node::as_text).map(str::to_lowercase);
    let format = Format::from_word(word("format").as_deref().unwrap_or("avro"))?;
    let (_, known) = FORMATS.iter().find(|(name, _)| *name == format.as_str())?;
    let compression = word("compression").or_else(|| known.first().map(|(name, _)| (*name).to_owned()))?;
    check_compression(node, report);
    let store = match word("type")?.as_str() {
        "local" => StoreSpec::Local { path: folder.join(text_of(node, "path")) },
        "s3" => StoreSpec::S3(s3(node, report)),
        "abs" => StoreSpec::Abs(AbsSpec {
            container: text_of(node, "container"),
            account_name: text_of(node, "accountName"),
            account_key: node.get("accountKey").map(secret),
            endpoint: optional(node, "endpoint"),
        }),
        "gcs" => StoreSpec::Gcs(GcsSpec {
            bucket: text_of(node, "bucket"),
            endpoint: optional(node, "endpoint"),
            kms_key_name: optional(node, "kmsKeyName"),
            storage_class: optional(node, "storageClass"),
            user_project: optional(node, "userProject"),
        }),
        _ => return None,
    };
    Some(TargetSpec {
        store,
        prefix: text_of(node, "prefix").trim_matches('/').to_owned(),
        format,
        layout: Layout::from_word(word("layout").as_deref().unwrap_or("envelope"))?,
        compression: Compression::from_word(&compression)?,
        decimals: DecimalMapping::from_word(word("decimalMapping").as_deref().unwrap_or("logical"))?,
    })
}

fn s3(node: &Node, report: &mut Report) -> S3Spec {
    if let Some(written) = node.get("externalId").filter(|_| node.get("roleArn").is_none()) {
        let wrong = Wrong::new("an external id is for a role, and there is none", "add `roleArn`, or remove it");
        report.problem(wrong.at("streamingTarget.externalId", written.line));
    }
    S3Spec {
        bucket: text_of(node, "bucket"),
        region: optional(node, "region"),
        endpoint: optional(node, "endpoint"),
        path_style: node.get("pathStyle").and_then(Node::as_bool),
        kms_key_id: optional(node, "kmsKeyId"),
        storage_class: optional(node, "storageClass"),
        requester_pays: node.get("requesterPays").and_then(Node::as_bool).unwrap_or_default(),
        tags: texts(node.get("tags")),
        role_arn: optional(node, "roleArn"),
        external_id: optional(node, "externalId"),
    }
}

fn optional(node: &Node, name: &str) -> Option<String> {
    node.get(name).and_then(Node::as_text).map(str::to_owned)
}

fn texts(node: Option<&Node>) -> Vec<(String, String)> {
    let entries = node.into_iter().flat_map(Node::entries);
    entries.map(|(name, value)| (name.to_owned(), value.as_text().unwrap_or_default().to_owned())).collect()
}
