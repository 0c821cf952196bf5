//! What the source is told: checked by the caller, private to this source.

use crate::password::Password;

/// One entry of the pipeline file's `tables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSelection {
    /// Schema of the table.
    pub schema: String,
    /// Name of the table; `*` is every table of the schema.
    pub table: String,
}

/// Who makes the publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicationMode {
    /// We do, and we may change it.
    Create,
    /// The user did; it is only read and judged.
    Use,
}

/// Whether values come in the server's binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// Where every column has a binary decoder.
    Auto,
    /// Always; a column without a decoder stops the pipeline.
    On,
    /// Never.
    Off,
}

/// Everything that the source needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Role.
    pub username: String,
    /// Its password, where the server asks for one.
    pub password: Option<Password>,
    /// The tables.
    pub tables: Vec<TableSelection>,
    /// Replication slot.
    pub slot: String,
    /// The slot's name is the default one, not one that the user wrote.
    pub slot_is_default: bool,
    /// Publication.
    pub publication: String,
    /// The publication's name is the default one, not one that the user wrote.
    pub publication_is_default: bool,
    /// Who makes it.
    pub publication_mode: PublicationMode,
    /// Form of the values.
    pub binary: Binary,
    /// Whether the server may hand over transactions while they are in progress (from version 14 on). Otherwise it keeps
    /// them until they end.
    pub streaming: bool,
    /// Whether the rows that are already there are read, too.
    pub snapshots: bool,
    /// Whether the rows before changes are asked for, as far as the log has them.
    pub old_rows: bool,
}

/// The word for every table of a schema.
pub(crate) const EVERY_TABLE: &str = "*";

impl Settings {
    /// Whether a table is one of the pipeline's.
    pub(crate) fn lists(&self, schema: &str, table: &str) -> bool {
        self.tables.iter().any(|entry| entry.schema == schema && (entry.table == table || entry.table == EVERY_TABLE))
    }

    /// Whether a table is written out by name.
    pub(crate) fn names(&self, schema: &str, table: &str) -> bool {
        self.tables.iter().any(|entry| entry.schema == schema && entry.table == table && entry.table != EVERY_TABLE)
    }

    /// Host and port, for people.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}
