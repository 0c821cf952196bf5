//! What a pipeline file says about a lake of files, checked, and who writes to it.

use millrace_model::ByteSize;

/// What the data files of a lake are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Of the files.
    pub format: Format,
    /// Of the records in them.
    pub layout: Layout,
    /// One that the format has.
    pub compression: Compression,
    /// How decimals of bounded precision stand in them.
    pub decimals: Decimals,
}

/// The format of data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Avro object container files
    Avro,
    /// Apache Parquet
    Parquet,
    /// JSON lines
    Json,
}

/// The layout of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `before` and `after` side by side
    Envelope,
    /// the columns on top
    Flat,
}

/// How data files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// zstd at its fastest level; every format has it
    Zstd,
    /// Snappy: Parquet and Avro
    Snappy,
    /// Deflate: Avro
    Deflate,
    /// gzip: JSON lines
    Gzip,
    /// not at all
    None,
}

/// How decimals of bounded precision stand in data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimals {
    /// as decimals of the format
    Logical,
    /// as the source's text
    Legacy,
}

impl Form {
    /// How the names of its files end.
    pub fn ending(&self) -> &'static str {
        match (self.format, self.compression) {
            (Format::Parquet, _) => ".parquet",
            (Format::Avro, _) => ".avro",
            (Format::Json, Compression::Gzip) => ".jsonl.gz",
            (Format::Json, Compression::None) => ".jsonl",
            (Format::Json, _) => ".jsonl.zst",
        }
    }
}

impl Format {
    /// As the registry has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Avro => "avro",
            Self::Parquet => "parquet",
            Self::Json => "json",
        }
    }
}

impl Layout {
    /// As the registry has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Flat => "flat",
        }
    }
}

/// Everything that a writer of one lake has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Below the store's root; outer slashes do not count.
    pub prefix: String,
    /// Of data files.
    pub form: Form,
    /// A file that has grown to this size is closed, and the rows go on in the next part.
    pub file_max_bytes: ByteSize,
    /// Name (under a hub: id) of the pipeline.
    pub pipeline: String,
    /// A UUID made anew by each process: it tells the commits of two processes apart.
    pub instance: String,
    /// The pipeline's epoch, from the hub; none without one.
    pub epoch: Option<u64>,
    /// Of this build.
    pub version: String,
}
