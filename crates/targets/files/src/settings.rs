//! What a pipeline file says about a lake of files, checked, and who writes to it.

use millrace_model::ByteSize;

/// How the pages of a file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// zstd at its fastest level
    #[default]
    Zstd,
    /// Snappy
    Snappy,
    /// not at all
    None,
}

/// Everything that a writer of one lake has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Below the store's root; outer slashes do not count.
    pub prefix: String,
    /// Of data files.
    pub compression: Compression,
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
