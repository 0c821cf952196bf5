//! What a pipeline looks like on the wire: the file that people write, its JSON Schema, its problems and their cures.
//!
//! The only room that reads this format. It knows no source, no target and no secret's value, and it opens no file:
//! whoever has the text asks here what it means.

mod advanced;
mod connection;
mod fault;
mod fields;
mod file_body;
pub mod gateway;
mod measure;
mod name;
mod plain_secret;
mod properties;
mod question;
mod rules;
mod schema;
mod shape;
mod spec;
mod tree;
mod validate;
pub mod wire;

pub use advanced::{AdvancedProperties, Binary, MysqlPosition, PublicationMode, SchemaChange, SnapshotMode};
pub use fault::{NOT_BUILT, PLAIN_CONNECTION, PLAIN_SECRET, Problem, Problems};
pub use file_body::{FileBody, file_body};
pub use name::default_slot_name;
pub use question::{Question, SourcePart, TargetPart};
pub use schema::{advanced_table, format_table, json_schema};
pub use spec::{
    AbsSpec, Compression, ConnectionSpec, DecimalMapping, Format, GcsSpec, Layout, PipelineSpec, S3Spec, SourceSpec,
    StoreSpec, TableSpec, TargetSpec,
};
pub use tree::Notation;
