//! What the agent keeps over a restart, in `STATE_DIR`: the pipeline that it was given last, so that it goes on while the
//! hub is away. Never a secret: the definition holds references only.

use std::io::ErrorKind;
use std::path::PathBuf;

use millrace_protocol::gateway::DesiredPipeline;
use tracing::warn;

use crate::fault::Cause;

/// The file; nothing is kept without a folder.
pub(crate) struct Cache {
    file: Option<PathBuf>,
}

const FILE: &str = "pipeline.json";

impl Cache {
    /// In `folder`, which is made.
    pub(crate) fn open(folder: Option<&PathBuf>) -> Result<Self, Cause> {
        let Some(folder) = folder else { return Ok(Self { file: None }) };
        std::fs::create_dir_all(folder).map_err(|error| Cause::File { path: folder.clone(), error })?;
        Ok(Self { file: Some(folder.join(FILE)) })
    }

    /// What was kept; a file that cannot be understood is as good as none.
    pub(crate) fn read(&self) -> Option<DesiredPipeline> {
        let file = self.file.as_ref()?;
        match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .inspect_err(|error| {
                    warn!(
                        code = "AG-003",
                        "the kept definition `{}` is damaged ({error}); the hub has it",
                        file.display()
                    );
                })
                .ok(),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                warn!(code = "AG-003", "the kept definition `{}` cannot be read: {error}", file.display());
                None
            }
        }
    }

    /// Keeps it, or that there is none. It is a convenience: a full disk must not stop a pipeline.
    pub(crate) fn keep(&self, pipeline: Option<&DesiredPipeline>) {
        let Some(file) = &self.file else { return };
        let written = match pipeline {
            Some(pipeline) => {
                let beside = file.with_extension("new");
                let text = serde_json::to_vec(pipeline).unwrap_or_default();
                std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, file))
            }
            None => match std::fs::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = written {
            warn!(code = "AG-003", "the definition cannot be kept in `{}`: {error}", file.display());
        }
    }
}
