//! What can go wrong between a pipeline and its lake of files, with a stable code and a remedy for each.
//!
//! Messages name paths, tables and commits; never a cell's value.

use std::io;
use std::path::{Path, PathBuf};

use millrace_model::{Fault, Refusal, Remedy};
use thiserror::Error;

/// A cause that this target knows; across the port it travels as a [`Fault`].
#[derive(Debug, Error)]
pub enum Cause {
    /// The store gave no answer that says yes or no.
    #[error("the lake gave no answer while millrace was to {doing} `{path}`")]
    NoAnswer {
        /// What was asked.
        doing: &'static str,
        /// Of which name.
        path: String,
        /// What lies beneath.
        #[source]
        cause: Option<io::Error>,
    },
    /// The disk is full, or the quota is used up.
    #[error("no space left on the device of the lake, to {doing} `{path}`")]
    NoSpace {
        /// What was asked.
        doing: &'static str,
        /// Of which name.
        path: String,
        /// What lies beneath.
        #[source]
        cause: io::Error,
    },
    /// The store says that we may not.
    #[error("the lake does not allow millrace to {doing} `{path}`")]
    Permission {
        /// What was asked.
        doing: &'static str,
        /// Of which name.
        path: String,
        /// What lies beneath.
        #[source]
        cause: Option<io::Error>,
    },
    /// The filesystem has no hard links, so nothing can be created only if absent and whole.
    #[error("the filesystem of the lake has no hard links (`{path}`)")]
    NoHardLinks {
        /// The name that was to be linked.
        path: String,
        /// What lies beneath.
        #[source]
        cause: io::Error,
    },
    /// Something that is no folder stands where a folder has to be.
    #[error("`{path}` is in the way: a folder has to be there")]
    NoFolder {
        /// The name that was asked for.
        path: String,
    },
    /// The operating system will not make the lake's root.
    #[error("the folder `{root}` is not there and cannot be made: {cause}")]
    NoRoot {
        /// The folder.
        root: String,
        /// What lies beneath.
        #[source]
        cause: io::Error,
    },
    /// A commit or state file of a later version.
    #[error("`{path}` is written by a later version of millrace ({what})")]
    Newer {
        /// Of which file.
        path: String,
        /// What this version does not know.
        what: String,
    },
    /// The chain at the root holds files of another shape than the pipeline file asks for.
    #[error("the lake holds {found} files, the pipeline file asks for {asked}")]
    OtherShape {
        /// What it holds.
        found: String,
        /// What is asked for.
        asked: String,
    },
    /// What the chain says and what is there do not agree.
    #[error("the lake is damaged at `{path}`: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The commit has not landed, or it is not known whether it has.
    #[error("commit {commit} is not there yet")]
    NotLanded {
        /// Its number.
        commit: u64,
    },
    /// A table that the chain does not know.
    #[error("the lake has no table `{table}`")]
    NoTable {
        /// As it was asked for.
        table: String,
        /// A table that has this name if the dots in its parts are written plainly.
        meant: Option<String>,
    },
    /// A rule of the protocol would have been broken.
    #[error("a rule of the file lake would be broken: {what}")]
    Rule {
        /// Which.
        what: String,
    },
    /// A batch could not be written in the format of the lake.
    #[error("rows of `{table}` could not be encoded")]
    Encode {
        /// Whose.
        table: String,
        /// What lies beneath.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The identity lacks a permission of an object store.
    #[error("the store does not allow millrace to {doing} `{path}`: {permission} is missing ({said})")]
    Denied {
        /// What was asked.
        doing: &'static str,
        /// Of which name.
        path: String,
        /// The store's name of the permission.
        permission: String,
        /// How to grant it.
        cure: String,
        /// The store's own words.
        said: String,
    },
    /// The bucket is not there.
    #[error("there is no bucket at `{path}`")]
    NoBucket {
        /// The name that was asked for.
        path: String,
    },
    /// The store does not know the identity or does not believe it.
    #[error("the store does not accept the credentials for `{path}`: {said}")]
    Identity {
        /// The name that was asked for.
        path: String,
        /// The store's own words.
        said: String,
    },
    /// The store says no, for a reason of its own.
    #[error("the store refuses to {doing} `{path}`: {said}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// Of which name.
        path: String,
        /// The store's own words.
        said: String,
    },
    /// The pipeline file asks for a store that cannot be.
    #[error("{what}")]
    Unfit {
        /// What is wrong.
        what: String,
    },
    /// Two creates of one name both succeeded, or a name that is not there was found.
    #[error("the store does not keep its promises: {what}")]
    BrokenPromise {
        /// Which promise.
        what: String,
    },
}

impl Cause {
    /// The stable code; `docs/errors/<code>.md` explains it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "FL-001",
            Self::NoSpace { .. } => "FL-002",
            Self::Permission { .. } => "FL-003",
            Self::NoHardLinks { .. } => "FL-004",
            Self::NoFolder { .. } => "FL-005",
            Self::Newer { .. } => "FL-006",
            Self::OtherShape { .. } => "FL-007",
            Self::Damaged { .. } => "FL-008",
            Self::NotLanded { .. } => "FL-009",
            Self::NoTable { .. } => "FL-010",
            Self::Rule { .. } => "FL-011",
            Self::Encode { .. } => "FL-012",
            Self::BrokenPromise { .. } => "FL-013",
            Self::NoRoot { .. } => "FL-014",
            Self::Denied { .. } => "FL-020",
            Self::NoBucket { .. } => "FL-021",
            Self::Identity { .. } => "FL-022",
            Self::Refused { .. } => "FL-023",
            Self::Unfit { .. } => "FL-024",
        }
    }

    fn remedy(&self) -> Remedy {
        match self {
            Self::NoAnswer { .. } | Self::NoSpace { .. } | Self::NotLanded { .. } => Remedy::Retry,
            Self::Permission { .. } | Self::Denied { .. } | Self::Identity { .. } => {
                Remedy::Operator(Refusal::Permission)
            }
            Self::NoHardLinks { .. } | Self::Damaged { .. } | Self::BrokenPromise { .. } | Self::Refused { .. } => {
                Remedy::Operator(Refusal::Check)
            }
            Self::NoFolder { .. }
            | Self::NoBucket { .. }
            | Self::Unfit { .. }
            | Self::NoRoot { .. }
            | Self::Newer { .. }
            | Self::OtherShape { .. }
            | Self::NoTable { .. } => Remedy::Operator(Refusal::Spec),
            Self::Rule { .. } | Self::Encode { .. } => Remedy::Defect,
        }
    }

    fn cure(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "see that the target's disk, mount or object store is there and works",
            Self::NotLanded { .. } => "wait: millrace asks again by itself",
            Self::NoSpace { .. } => "free some space; millrace goes on by itself, nothing is lost meanwhile",
            Self::Permission { .. } => "let the user that runs millrace read and write below the target's path",
            Self::NoHardLinks { .. } => "choose a path on a filesystem with hard links (ext4, xfs, btrfs, zfs, NFS)",
            Self::NoFolder { .. } => "choose another path or prefix for the target, or move that file away",
            Self::NoRoot { .. } => "set the target's `path` to a folder on a disk that can be written to",
            Self::Newer { .. } => "run the version of millrace that wrote it, or a later one",
            Self::OtherShape { .. } => "write to another path or prefix, or set format and layout back",
            Self::Damaged { .. } => {
                "run `millrace fsck`; put the file back from a copy, or begin anew at another prefix"
            }
            Self::NoTable { .. } => "`millrace status` lists the tables; a dot inside a name is written `%2E`",
            Self::Rule { .. } | Self::Encode { .. } => "this is a defect of Millrace; please report it with this line",
            Self::BrokenPromise { .. } => "the lake cannot stand on this store; choose another path",
            Self::Denied { .. } => "grant it",
            Self::NoBucket { .. } => "make the bucket, or correct its name, its region or the endpoint",
            Self::Identity { .. } => "see that the credentials are those of this store, and still valid",
            Self::Refused { .. } => "see what the store says; a setting of the target or of the bucket is in the way",
            Self::Unfit { .. } => "correct the target in the pipeline file",
        }
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        let mut fault = Self {
            code: cause.code(),
            remedy: cause.remedy(),
            message: cause.to_string(),
            cure: cause.cure().into(),
            cause: None,
        };
        match cause {
            Cause::NoTable { meant: Some(meant), .. } => {
                fault.cure = format!("a dot inside a name is written `%2E`: ask for `{meant}`");
            }
            Cause::NoAnswer { cause, .. } | Cause::Permission { cause, .. } => {
                fault.cause = cause.map(|cause| Box::new(cause) as _);
            }
            Cause::NoSpace { cause, .. } | Cause::NoHardLinks { cause, .. } | Cause::NoRoot { cause, .. } => {
                fault.cause = Some(Box::new(cause));
            }
            Cause::Encode { cause, .. } => fault.cause = Some(cause),
            Cause::Denied { cure, .. } => fault.cure = cure,
            Cause::NoFolder { .. }
            | Cause::Newer { .. }
            | Cause::OtherShape { .. }
            | Cause::Damaged { .. }
            | Cause::NotLanded { .. }
            | Cause::NoTable { meant: None, .. }
            | Cause::Rule { .. }
            | Cause::NoBucket { .. }
            | Cause::Identity { .. }
            | Cause::Refused { .. }
            | Cause::Unfit { .. }
            | Cause::BrokenPromise { .. } => {}
        }
        fault
    }
}

/// An error that came up while the lake's root was made. It travels inside an `io::Error`.
#[derive(Debug, Error)]
#[error("{cause}")]
pub(crate) struct Unmade {
    pub(crate) folder: PathBuf,
    pub(crate) cause: io::Error,
}

/// What an error of the operating system means for the lake.
pub(crate) fn of_io(doing: &'static str, path: &str, cause: io::Error) -> Cause {
    match cause.downcast::<Unmade>() {
        Ok(Unmade { folder, cause }) => of_root(&folder, cause),
        Err(cause) => of_call(doing, path, cause),
    }
}

/// That the root cannot be made is an answer, however often one asks.
#[expect(clippy::wildcard_enum_match_arm, reason = "the operating system has more kinds than mean something here")]
fn of_root(folder: &Path, cause: io::Error) -> Cause {
    let root = folder.display().to_string();
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
            Cause::NoRoot { root, cause }
        }
        _ => of_call("make the folder", &root, cause),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the operating system has more kinds than mean something here")]
fn of_call(doing: &'static str, path: &str, cause: io::Error) -> Cause {
    let path = path.to_owned();
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::NoSpace { doing, path, cause },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Cause::Permission { doing, path, cause: Some(cause) }
        }
        io::ErrorKind::InvalidFilename => Cause::NoRoot { root: path, cause },
        io::ErrorKind::NotADirectory => {
            let in_the_way = Path::new(&path).ancestors().find(|part| part.is_file());
            Cause::NoFolder { path: in_the_way.map_or(path.clone(), |part| part.display().to_string()) }
        }
        _ => Cause::NoAnswer { doing, path, cause: Some(cause) },
    }
}

/// A rule of the protocol that a caller would break.
pub(crate) fn rule(what: impl Into<String>) -> Fault {
    Cause::Rule { what: what.into() }.into()
}

/// A file that does not say what it should.
pub(crate) fn damaged(path: &str, what: impl Into<String>) -> Fault {
    Cause::Damaged { path: path.into(), what: what.into() }.into()
}

/// A blocking task that did not come back: it panicked, or the runtime is shutting down.
pub(crate) fn lost_task(error: tokio::task::JoinError) -> Fault {
    if error.is_panic() {
        rule("a blocking task panicked").because(error)
    } else {
        Fault::retry("FL-001", "the process is shutting down").because(error)
    }
}
