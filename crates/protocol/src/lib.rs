//! What a pipeline looks like on the wire: the file that people write, its JSON Schema, its problems and their cures.
//!
//! The only room that reads this format. It knows no source, no target and no secret's value, and it opens no file:
//! whoever has the text asks here what it means.

#![warn(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::map_err_ignore,
    clippy::wildcard_enum_match_arm,
    clippy::large_futures,
    clippy::allow_attributes_without_reason,
    clippy::print_stdout
)]
#![allow(
    clippy::must_use_candidate,
    clippy::module_name_repetitions,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::doc_markdown,
    clippy::format_push_string,
    clippy::match_same_arms,
    clippy::similar_names,
    clippy::single_match_else,
    clippy::struct_excessive_bools,
    reason = "pedantic, and more noise than help here"
)]

mod advanced;
mod connection;
mod fault;
mod fields;
mod file_body;
pub mod gateway;
mod measure;
mod name;
mod nearest;
mod properties;
mod schema;
mod shape;
mod spec;
mod tree;
mod validate;
pub mod wire;

pub use advanced::{AdvancedProperties, Binary, MysqlPosition, PublicationMode, SchemaChange, SnapshotMode};
pub use fault::{NOT_BUILT, PLAIN_CONNECTION, Problem, Problems};
pub use file_body::{FileBody, file_body};
pub use name::default_slot_name;
pub use schema::{advanced_table, format_table, json_schema};
pub use spec::{
    Compression, ConnectionSpec, Format, Layout, PipelineSpec, SourceSpec, StoreSpec, TableSpec, TargetSpec,
};
pub use tree::Notation;
