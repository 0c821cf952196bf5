//! What an agent is asked about before there is a whole pipeline: a source, a target, or both; and the parts of a
//! pipeline as those take them who need only one.

use std::path::Path;

use millrace_model::Finding;
use serde_json::Value;

use crate::advanced::AdvancedProperties;
use crate::connection::check_postgres;
use crate::fault::{NOT_VALID, Problem, Problems};
use crate::fields::BODY;
use crate::name::default_slot_name;
use crate::properties;
use crate::spec::{
    Layout, PipelineSpec, SourceSpec, TableSpec, TargetSpec, child, source, tables, target, text_of, unreadable,
};
use crate::tree::{Node, Notation};
use crate::validate::{Report, validate};

/// What a question may leave out of a pipeline's body.
pub(crate) const MAY_LACK: &[&str] =
    &["name", "agentId", "streamingSource", "streamingSource.tables", "streamingTarget"];

/// A source, a target, or both; everything else of a pipeline may be missing.
#[derive(Clone, Debug)]
pub struct Question {
    /// Default slot and publication are named after it.
    pub name: String,
    /// Where changes would come from.
    pub source: Option<SourceSpec>,
    /// Which tables, if any are chosen yet.
    pub tables: Vec<TableSpec>,
    /// Where they would go to.
    pub target: Option<TargetSpec>,
    /// Fine tuning.
    pub advanced: AdvancedProperties,
    /// What is worth saying about what was sent; never errors.
    pub findings: Vec<Finding>,
}

/// The part of a pipeline that its source needs.
#[derive(Clone, Copy, Debug)]
pub struct SourcePart<'a> {
    /// The database.
    pub source: &'a SourceSpec,
    /// Which tables; none where nobody has chosen yet.
    pub tables: &'a [TableSpec],
    /// Fine tuning.
    pub advanced: &'a AdvancedProperties,
    /// Whether the target has a place for the rows before changes.
    pub old_rows: bool,
    name: &'a str,
}

/// The part of a pipeline that its target needs.
#[derive(Clone, Copy, Debug)]
pub struct TargetPart<'a> {
    /// The place and the form of its files.
    pub target: &'a TargetSpec,
    /// Fine tuning.
    pub advanced: &'a AdvancedProperties,
}

impl SourcePart<'_> {
    /// Name of the replication slot: the written one, or the default.
    pub fn slot_name(&self) -> String {
        self.advanced.slot_name.clone().unwrap_or_else(|| default_slot_name(self.name))
    }

    /// Name of the publication: the written one, or the default.
    pub fn publication_name(&self) -> String {
        self.advanced.publication_name.clone().unwrap_or_else(|| default_slot_name(self.name))
    }
}

impl PipelineSpec {
    /// What its source needs.
    pub fn source_part(&self) -> SourcePart<'_> {
        let old_rows = self.target.layout == Layout::Envelope;
        SourcePart { source: &self.source, tables: &self.tables, advanced: &self.advanced, old_rows, name: &self.name }
    }

    /// What its target needs.
    pub fn target_part(&self) -> TargetPart<'_> {
        TargetPart { target: &self.target, advanced: &self.advanced }
    }
}

impl<'a> From<&'a PipelineSpec> for SourcePart<'a> {
    fn from(spec: &'a PipelineSpec) -> Self {
        spec.source_part()
    }
}

impl<'a> From<&'a PipelineSpec> for TargetPart<'a> {
    fn from(spec: &'a PipelineSpec) -> Self {
        spec.target_part()
    }
}

impl Question {
    /// Reads a part of a pipeline's body, as the commands `check` and `discover` bring it. Refused with every problem at
    /// once, also with what this version cannot do.
    pub fn parse(body: &Value) -> Result<Self, Problems> {
        let node = Node::parse(&body.to_string(), Notation::Json)?;
        let mut report = Report::of_part(MAY_LACK);
        validate(&node, &BODY, "", &mut report);
        let asked = |name: &str| node.get(name).is_some();
        if !asked("streamingSource") && !asked("streamingTarget") {
            report.problem(nothing_asked());
        }
        let kind = child(&node, &["streamingSource", "type"]).and_then(Node::as_text).unwrap_or_default();
        let kind = kind.to_lowercase();
        let properties = properties::read(node.get("advancedProperties"), &kind, &mut report);
        if kind == "postgres" {
            check_postgres(child(&node, &["streamingSource", "connection", "jdbcProperties"]), &mut report);
        }
        let tables = tables(&node, &mut report);
        let root = Path::new("/");
        let target = target(&node, root, &mut report);
        let source = source(&node, &kind);
        let advanced = properties.settings(root);
        if !report.problems.is_empty() || !report.unbuilt.is_empty() {
            return Err(Problems(report.problems.into_iter().chain(report.unbuilt).collect()));
        }
        let whole = source.is_some() == asked("streamingSource") && target.is_some() == asked("streamingTarget");
        let Some(advanced) = advanced.filter(|_| whole) else { return Err(unreadable(report)) };
        Ok(Self { name: text_of(&node, "name"), source, tables, target, advanced, findings: report.findings })
    }

    /// What its source needs, if one is asked about.
    pub fn source_part(&self) -> Option<SourcePart<'_>> {
        let source = self.source.as_ref()?;
        Some(SourcePart { source, tables: &self.tables, advanced: &self.advanced, old_rows: false, name: &self.name })
    }

    /// What its target needs, if one is asked about.
    pub fn target_part(&self) -> Option<TargetPart<'_>> {
        Some(TargetPart { target: self.target.as_ref()?, advanced: &self.advanced })
    }
}

/// The body asks about nothing.
pub(crate) fn nothing_asked() -> Problem {
    let cure = "send `streamingSource`, `streamingTarget`, or both";
    Problem::new(NOT_VALID, "", "neither a source nor a target is there", cure)
}
