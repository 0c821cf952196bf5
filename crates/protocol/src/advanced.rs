//! `advancedProperties`: one table of keys with their defaults, and the settings that come out of it.
//!
//! A key of Debezium or of the product that existing files were written for is honoured under the name it has here. A key
//! that means nothing is kept and reported as a finding, never dropped silently.

use std::path::PathBuf;
use std::time::Duration;

use millrace_model::ByteSize;

use crate::shape::{Word, now};

/// One key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    /// As it would be written; empty where the default is not a fixed text.
    pub(crate) default: &'static str,
    /// How the default reads in the documentation.
    pub(crate) shown: &'static str,
    pub(crate) about: &'static str,
    /// The source that it is for; all of them where it is empty.
    pub(crate) source: &'static str,
    /// Names it has elsewhere.
    pub(crate) aliases: &'static [Alias],
}

/// What a value may be.
pub(crate) enum Rule {
    Duration { least: Duration, most: Duration },
    Size { least: ByteSize, most: ByteSize },
    Bool,
    Count { least: u64, most: u64 },
    Words(&'static [Word]),
    Slot,
    Publication,
    Path,
}

/// A name that a key has elsewhere.
pub(crate) struct Alias {
    pub(crate) name: &'static str,
    pub(crate) translate: Translate,
}

/// How the value of an alias is to be read.
pub(crate) enum Translate {
    /// A number of milliseconds.
    Milliseconds,
    /// As it stands.
    Same,
    /// (theirs, ours)
    Words(&'static [(&'static str, &'static str)]),
}

const fn key(name: &'static str, rule: Rule, default: &'static str, about: &'static str) -> Key {
    Key { name, rule, default, shown: default, about, source: "", aliases: &[] }
}

/// A longer one is a slip of the pen: a log that waits that long fills the source's disk.
const HOUR: Duration = Duration::from_hours(1);
/// The same for a commit, which some lakes want once a day.
const DAY: Duration = Duration::from_hours(24);

const fn durations(least: Duration, most: Duration) -> Rule {
    Rule::Duration { least, most }
}

/// What is larger than `most` is a slip of the pen: no machine has it.
const fn sizes(least: ByteSize, most: ByteSize) -> Rule {
    Rule::Size { least, most }
}

impl Key {
    const fn shown(mut self, shown: &'static str) -> Self {
        self.shown = shown;
        self
    }

    const fn only(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    const fn aliases(mut self, aliases: &'static [Alias]) -> Self {
        self.aliases = aliases;
        self
    }
}

const fn alias(name: &'static str, translate: Translate) -> Alias {
    Alias { name, translate }
}

/// Values of other products' `snapshot.mode`; unlike an alias they stand under the same key.
pub(crate) const SNAPSHOT_MODES: &[(&str, &str)] = &[("no_data", "never"), ("schema_only", "never")];

/// Every key that means something here.
pub(crate) const KEYS: &[Key] = &[
    key(
        "snapshot.mode",
        Rule::Words(&[now("initial"), now("never")]),
        "initial",
        "whether the rows that are already there are read first",
    ),
    key(
        "snapshot.parallelism",
        Rule::Count { least: 1, most: 64 },
        "2",
        "how many connections read a snapshot, at most one for each 25 MiB of `memory.limit`",
    )
    .aliases(&[alias("snapshot.max.threads", Translate::Same)]),
    key(
        "commit.interval",
        durations(Duration::from_millis(10), DAY),
        "10s",
        "longest time that a change waits for its commit",
    ),
    key(
        "commit.bytes",
        sizes(ByteSize::kib(4), ByteSize::mib(64 << 10)),
        "128MiB",
        "a round closes after so many bytes, as read from the log",
    ),
    key(
        "file.max.bytes",
        sizes(ByteSize::kib(4), ByteSize::mib(64 << 10)),
        "128MiB",
        "a file is closed after so many bytes, as written",
    ),
    key(
        "heartbeat.interval",
        durations(Duration::from_millis(100), HOUR),
        "60s",
        "how often the checkpoint moves while nothing changes",
    )
    .aliases(&[alias("heartbeat.interval.ms", Translate::Milliseconds)]),
    key(
        "memory.limit",
        sizes(ByteSize::mib(64), ByteSize::mib(1 << 20)),
        "200MiB",
        "ceiling of the whole process; beside it one huge value is held about four times at once",
    ),
    key("spill.directory", Rule::Path, "", "where large transactions in progress are kept")
        .shown("`spill` in an agent's `STATE_DIR`, else the system's temporary folder"),
    key("spill.limit", sizes(ByteSize::mib(1), ByteSize::mib(64 << 20)), "20GiB", "how much may be kept there"),
    key("stop.deadline", durations(Duration::from_secs(1), HOUR), "20s", "how long a stop may take"),
    key(
        "schema.change",
        Rule::Words(&[now("evolve"), now("stop")]),
        "evolve",
        "when the columns of a table change: a new schema version, or exit 65 before the change",
    ),
    key("slot.name", Rule::Slot, "", "name of the replication slot").shown("millrace_NAME").only("postgres"),
    key("publication.name", Rule::Publication, "", "name of the publication").shown("millrace_NAME").only("postgres"),
    key(
        "publication.mode",
        Rule::Words(&[now("create"), now("use")]),
        "create",
        "make the publication, or use one that is there",
    )
    .only("postgres")
    .aliases(&[alias(
        "publication.autocreate.mode",
        Translate::Words(&[("disabled", "use"), ("filtered", "create"), ("all_tables", "create")]),
    )]),
    key(
        "pgoutput.binary",
        Rule::Words(&[now("auto"), now("true"), now("false")]),
        "auto",
        "ask for values in binary form",
    )
    .only("postgres"),
    key("pgoutput.streaming", Rule::Bool, "true", "receive large transactions while they are in progress")
        .only("postgres"),
    key("server.id", Rule::Count { least: 1, most: u32::MAX as u64 }, "", "our number among the server's replicas")
        .shown("derived")
        .only("mysql")
        .aliases(&[alias("database.server.id", Translate::Same)]),
    key(
        "mysql.position",
        Rule::Words(&[now("auto"), now("gtid"), now("file")]),
        "auto",
        "how places in the binlog are noted",
    )
    .only("mysql"),
];

/// The settings, all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvancedProperties {
    /// Whether the rows that are already there are read first.
    pub snapshot_mode: SnapshotMode,
    /// How many connections read a snapshot.
    pub snapshot_parallelism: u32,
    /// Longest time that a change waits for its commit.
    pub commit_interval: Duration,
    /// A round closes after so many bytes, as read from the log.
    pub commit_bytes: ByteSize,
    /// A file is closed after so many bytes, as written.
    pub file_max_bytes: ByteSize,
    /// How often the checkpoint moves while nothing changes.
    pub heartbeat_interval: Duration,
    /// Ceiling of the whole process.
    pub memory_limit: ByteSize,
    /// Where large transactions in progress are kept; `None`: the system's temporary folder.
    pub spill_directory: Option<PathBuf>,
    /// How much may be kept there.
    pub spill_limit: ByteSize,
    /// How long a stop may take.
    pub stop_deadline: Duration,
    /// What to do when the columns of a table change.
    pub schema_change: SchemaChange,
    /// As written; `None`: the default name.
    pub slot_name: Option<String>,
    /// As written; `None`: the default name.
    pub publication_name: Option<String>,
    /// Make the publication, or use one that is there.
    pub publication_mode: PublicationMode,
    /// Ask for values in binary form.
    pub pgoutput_binary: Binary,
    /// Receive large transactions while they are in progress.
    pub pgoutput_streaming: bool,
    /// Our number among a MySQL server's replicas; `None`: derived.
    pub server_id: Option<u32>,
    /// How places in the binlog are noted.
    pub mysql_position: MysqlPosition,
}

/// Defines an enum together with its words in the file.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$variant_about:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_about])* $variant),+ }

        impl $name {
            /// The word in the file.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads it.
            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Whether the rows that are already there are read first.
    SnapshotMode {
        /// Yes, once.
        Initial = "initial",
        /// No, only what changes from now on.
        Never = "never",
    }
}

words! {
    /// What to do when the columns of a table change.
    SchemaChange {
        /// A new schema version.
        Evolve = "evolve",
        /// Exit 65.
        Stop = "stop",
    }
}

words! {
    /// Who makes the publication.
    PublicationMode {
        /// We do, and keep it in step with the tables.
        Create = "create",
        /// Somebody did; it is used as it is.
        Use = "use",
    }
}

words! {
    /// Whether values come in binary form.
    Binary {
        /// Where every column has a decoder for it.
        Auto = "auto",
        /// Always.
        On = "true",
        /// Never.
        Off = "false",
    }
}

words! {
    /// How places in MySQL's binlog are noted.
    MysqlPosition {
        /// By GTID where the server has them.
        Auto = "auto",
        /// By GTID.
        Gtid = "gtid",
        /// By file and offset.
        File = "file",
    }
}
