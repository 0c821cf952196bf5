//! What the engine needs to know of the pipeline file, validated.

use std::path::PathBuf;
use std::time::Duration;

use millrace_model::ByteSize;

/// Pace and limits of one pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name (under a hub: id) of the pipeline; it owns the chain.
    pub pipeline: String,
    /// The pipeline's epoch; `None` without a hub.
    pub epoch: Option<u64>,
    /// A round with changes is closed when it is this old.
    pub commit_interval: Duration,
    /// A round is closed when it was read from so many bytes.
    pub commit_bytes: ByteSize,
    /// With nothing new for so long, a log that moved is committed without files.
    pub heartbeat_interval: Duration,
    /// Ceiling of the whole process.
    pub memory_limit: ByteSize,
    /// Where a transaction that is too large for memory waits for its end.
    pub spill_directory: PathBuf,
    /// How much may wait there.
    pub spill_limit: ByteSize,
    /// How long a stop may take.
    pub stop_deadline: Duration,
    /// How often leftovers are swept.
    pub sweep_interval: Duration,
    /// Read the rows that are already there (`snapshot.mode: initial`).
    pub snapshot: bool,
    /// So many chunks are read at once, where memory allows.
    pub snapshot_parallelism: usize,
    /// Stop before the first transaction that sees a table with other columns (`schema.change: stop`).
    pub stop_at_schema_change: bool,
    /// Stop when the lake has come to where the log's end was at the start.
    pub until_now: bool,
}

/// What one reader of a snapshot takes, most of it in the file that it fills.
const SNAPSHOT_READER: u64 = 25 << 20;

impl Settings {
    /// The defaults of the pipeline file.
    pub fn new(pipeline: impl Into<String>) -> Self {
        Self {
            pipeline: pipeline.into(),
            epoch: None,
            commit_interval: Duration::from_secs(10),
            commit_bytes: ByteSize::mib(128),
            heartbeat_interval: Duration::from_mins(1),
            memory_limit: ByteSize::mib(200),
            spill_directory: std::env::temp_dir(),
            spill_limit: ByteSize::mib(20 << 10),
            stop_deadline: Duration::from_secs(20),
            sweep_interval: Duration::from_hours(24),
            snapshot: true,
            snapshot_parallelism: 2,
            stop_at_schema_change: false,
            until_now: false,
        }
    }

    /// A table that has gathered so many bytes is encoded before its round closes.
    pub(crate) fn batch_limit(&self) -> ByteSize {
        ByteSize::bytes((self.memory_limit.get() / 32).clamp(64 << 10, 8 << 20))
    }

    /// So many chunks of a snapshot are read at once: each has a file of its own that is being encoded.
    pub(crate) fn snapshot_readers(&self) -> usize {
        let most = usize::try_from(self.memory_limit.get() / SNAPSHOT_READER).unwrap_or(usize::MAX);
        self.snapshot_parallelism.min(most).max(1)
    }

    /// Rows that a reader of a snapshot hands over are about so large. Builders take up to twice that while they grow, and
    /// the batch before is being encoded.
    pub(crate) fn snapshot_batch(&self) -> ByteSize {
        let all = self.memory_limit.get() / 64;
        ByteSize::bytes((all / self.snapshot_readers() as u64).clamp(64 << 10, 1 << 20))
    }

    /// So many bytes may lie in the builders of the open round before it is closed. Builders take up to twice that while
    /// they grow.
    pub(crate) fn held_limit(&self) -> ByteSize {
        ByteSize::bytes(self.memory_limit.get() / 8)
    }

    /// So much may be known of the parts (subtransactions) of transactions in progress, which no disk can take over.
    pub(crate) fn parts_limit(&self) -> ByteSize {
        ByteSize::bytes((self.memory_limit.get() / 16).max(64 << 10))
    }

    /// So many bytes may lie in the builders inside a transaction before they go to disk: a copy of them is made on the way.
    pub(crate) fn open_limit(&self) -> ByteSize {
        ByteSize::bytes(self.memory_limit.get() / 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_allows_so_many_readers_of_a_snapshot() {
        let readers = |parallelism: usize, limit: u64| {
            let settings = Settings {
                snapshot_parallelism: parallelism,
                memory_limit: ByteSize::mib(limit),
                ..Settings::new("shop")
            };
            (settings.snapshot_readers(), settings.snapshot_batch().get() >> 10)
        };
        assert_eq!(readers(2, 200), (2, 1024));
        assert_eq!(readers(64, 200), (8, 400));
        assert_eq!(readers(64, 64), (2, 512));
        assert_eq!(readers(64, 4096), (64, 1024));
    }
}
