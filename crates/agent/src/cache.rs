//! What the agent keeps over a restart, in `STATE_DIR`: the last definition that it could take, so that it goes on while
//! the hub is away, and to which host each secret was first sent. Never a secret: only references to them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use millrace_protocol::gateway::DesiredPipeline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::fault::Cause;

/// The variable that names the folder.
const FOLDER: &str = "STATE_DIR";
const PIPELINE: &str = "pipeline.json";
const BINDINGS: &str = "bindings.json";
const SPILL: &str = "spill";

/// Hosts that a secret may be sent to, by the secret.
pub(crate) type Bindings = BTreeMap<String, BTreeSet<String>>;

/// The folder; nothing is kept without one.
pub(crate) struct Cache {
    folder: Option<PathBuf>,
    owner: Owner,
}

/// Whose definition is kept: that of another agent, or of another hub, is not this one's to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) hub: String,
    pub(crate) account: String,
    pub(crate) agent: String,
}

/// The file of the definition.
#[derive(Serialize, Deserialize)]
struct Owned<T> {
    /// Absent in what an earlier version kept.
    #[serde(default)]
    owner: Option<Owner>,
    #[serde(flatten)]
    kept: T,
}

/// A definition that could be taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) pipeline: DesiredPipeline,
    /// The first snapshots of all its tables were finished once.
    pub(crate) whole: bool,
    /// The newest revision that has streamed: what a newer one that fails at its start falls back to.
    #[serde(default)]
    pub(crate) good: Option<DesiredPipeline>,
}

impl Cache {
    /// In `folder`, which is made.
    pub(crate) fn open(folder: Option<&PathBuf>, owner: Owner) -> Result<Self, Cause> {
        let cache = Self { folder: folder.cloned(), owner };
        if let Some(spill) = cache.spill() {
            std::fs::create_dir_all(&spill).map_err(|error| Cause::File { variable: FOLDER, path: spill, error })?;
        }
        Ok(cache)
    }

    /// Where large transactions in progress wait, unless a definition names another folder. Around a container's `STATE_DIR`
    /// there is often nothing that can be written to.
    pub(crate) fn spill(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(SPILL))
    }

    /// What was kept for this agent; a file that cannot be understood is as good as none: the hub has it. One that does not
    /// say whose it is may be anybody's.
    pub(crate) fn read(&self) -> Option<Kept> {
        let file = self.folder.as_ref()?.join(PIPELINE);
        let not_used =
            |reason: &str| warn!(code = "AG-003", "the kept definition is not used: {reason}; the hub has it");
        let Owned { owner, kept } = read::<Owned<Kept>>(&file).inspect_err(|reason| not_used(reason)).ok()??;
        if owner.as_ref() == Some(&self.owner) {
            return Some(kept);
        }
        let whose =
            owner.map_or_else(|| "nobody it names".to_owned(), |it| format!("agent {} of {}", it.agent, it.hub));
        not_used(&format!("`{}` is of {whose}", file.display()));
        None
    }

    /// Keeps it, or that there is none. It is a convenience: a full disk must not stop a pipeline.
    pub(crate) fn keep(&self, kept: Option<&Kept>) {
        let Some(folder) = &self.folder else { return };
        let file = folder.join(PIPELINE);
        let written = match kept {
            Some(kept) => write(&file, &Owned { owner: Some(self.owner.clone()), kept }),
            None => match std::fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = written {
            warn!(code = "AG-003", "the definition cannot be kept in `{}`: {error}", file.display());
        }
    }

    /// To which hosts secrets were bound. A damaged file is not passed over: it would unbind them all.
    pub(crate) fn bindings(&self) -> Result<Bindings, Cause> {
        let Some(folder) = &self.folder else { return Ok(Bindings::new()) };
        let path = folder.join(BINDINGS);
        match read(&path) {
            Ok(bindings) => Ok(bindings.unwrap_or_default()),
            Err(reason) => Err(Cause::Policy { path, reason }),
        }
    }

    /// Keeps a binding.
    pub(crate) fn bind(&self, bindings: &Bindings) -> Result<(), Cause> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.join(BINDINGS);
        write(&path, bindings).map_err(|error| Cause::File { variable: FOLDER, path, error })
    }
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, String> {
    match std::fs::read(file) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(read) => Ok(Some(read)),
            Err(error) => Err(format!("`{}` is damaged: {error}", file.display())),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`{}` cannot be read: {error}", file.display())),
    }
}

/// Whole or not at all, also when the machine goes down meanwhile.
fn write(file: &Path, content: &impl Serialize) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    let mut open = std::fs::File::create(&beside)?;
    open.write_all(&serde_json::to_vec(content)?)?;
    open.sync_all()?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use millrace_protocol::gateway::{HeldPipeline, Wanted};
    use serde_json::json;

    use super::*;

    fn owner(hub: &str, agent: &str) -> Owner {
        Owner { hub: hub.into(), account: "acme".into(), agent: agent.into() }
    }

    fn kept() -> Kept {
        let held = HeldPipeline {
            pipeline_id: "p".into(),
            revision: 3,
            epoch: 2,
            wanted: Wanted::Running,
            wish: 1,
            digest: Some("d".into()),
        };
        let pipeline =
            DesiredPipeline { held, default_name: "shop".into(), new_lake: false, spec: json!({"name": "shop"}) };
        Kept { pipeline, whole: true, good: None }
    }

    #[test]
    fn a_kept_definition_is_its_own_agents_and_its_own_hubs() {
        let folder = tempfile::tempdir().unwrap();
        let open = |owner: Owner| Cache::open(Some(&folder.path().to_owned()), owner).unwrap();
        open(owner("https://hub", "north")).keep(Some(&kept()));
        let own = open(owner("https://hub", "north")).read().unwrap();
        assert_eq!((own.pipeline.held.revision, own.pipeline.held.digest.as_deref(), own.whole), (3, Some("d"), true));
        assert!(open(owner("https://hub", "south")).read().is_none());
        assert!(open(owner("https://other", "north")).read().is_none());
        // As an earlier version kept it.
        std::fs::write(folder.path().join(PIPELINE), serde_json::to_vec(&kept()).unwrap()).unwrap();
        assert!(open(owner("https://hub", "north")).read().is_none());
    }
}
