//! What a service for objects may answer that is no yes, and what it means for the lake.

use millrace_model::Fault;

use crate::fault::Cause;

/// What was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Create,
    Read,
    Size,
    Replace,
    Write,
    List,
    Delete,
    ListUploads,
    Abort,
}

impl Deed {
    fn doing(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Size => "look for",
            Self::Replace => "replace",
            Self::Write => "write",
            Self::List => "list",
            Self::Delete => "delete",
            Self::ListUploads => "list the unfinished uploads of",
            Self::Abort => "give up an upload of",
        }
    }
}

/// What an identity needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The service's name of the permission.
    pub(crate) permission: String,
    /// How to grant it: a line of a policy, a role.
    pub(crate) line: String,
}

impl Grant {
    /// What to do after a service that has said this.
    fn cure(&self, said: &str) -> String {
        let Self { permission, line } = self;
        if said.contains("explicit deny") {
            return format!(
                "take {permission} out of the statement that denies it; no line that allows it helps against one"
            );
        }
        format!("grant {permission}: {line}")
    }
}

/// An answer that is no yes. Texts are the service's own words, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The name is not free.
    Taken,
    /// Another request for this name is under way; nobody knows yet what will stand there.
    Conflict,
    /// What was named is not there.
    Missing,
    /// The bucket is not there.
    NoBucket,
    /// The identity may not.
    Denied {
        /// The permission that the service names itself.
        permission: Option<String>,
        /// Its words.
        said: String,
    },
    /// The service does not know the identity, or does not believe it.
    Unknown(String),
    /// Another no.
    Refused(String),
    /// No answer, or one that will be another one later. It may have happened.
    Later(String),
    /// There was nothing to ask with: no credentials could be had.
    NoCredentials(std::sync::Arc<Withheld>),
}

/// Why no credentials could be had; a fault that can be told more than once.
#[derive(Debug)]
pub(crate) struct Withheld(pub(crate) Fault);

impl PartialEq for Withheld {
    fn eq(&self, other: &Self) -> bool {
        self.0.code == other.0.code
    }
}

impl Eq for Withheld {}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        Self::NoCredentials(std::sync::Arc::new(Withheld(fault)))
    }
}

impl Answer {
    /// Whether asking again may help.
    pub(crate) fn is_later(&self) -> bool {
        matches!(self, Self::Later(_) | Self::Conflict)
    }

    /// The permission that the service itself names.
    pub(crate) fn permission(&self) -> Option<&str> {
        if let Self::Denied { permission, .. } = self { permission.as_deref() } else { None }
    }

    /// What it means that this was answered when something was to be done at `path`; `grant` is what is missing where
    /// something is.
    pub(crate) fn fault(self, deed: Deed, path: &str, grant: &Grant) -> Fault {
        let (doing, path) = (deed.doing(), path.to_owned());
        let said = |said: String| Some(std::io::Error::other(said));
        match self {
            Self::Later(text) => Cause::NoAnswer { doing, path, cause: said(text) },
            Self::Conflict => Cause::NoAnswer { doing, path, cause: said("another request was under way".into()) },
            Self::Denied { said, .. } => {
                Cause::Denied { doing, path, permission: grant.permission.clone(), cure: grant.cure(&said), said }
            }
            Self::NoBucket => Cause::NoBucket { path },
            Self::Unknown(said) => Cause::Identity { path, said },
            Self::Taken => Cause::Rule { what: format!("`{path}` is the name of another data file") },
            // Somebody, or the service itself, has given up the upload. Whoever was fenced meanwhile finds it out by asking anew.
            Self::Missing if deed == Deed::Write => {
                Cause::NoAnswer { doing, path, cause: said("its upload was given up".into()) }
            }
            Self::Missing => Cause::Refused { doing, path, said: "it is not there".into() },
            Self::Refused(said) => Cause::Refused { doing, path, said },
            Self::NoCredentials(why) => return again(&why.0),
        }
        .into()
    }
}

fn again(fault: &Fault) -> Fault {
    Fault {
        code: fault.code,
        remedy: fault.remedy,
        message: fault.message.clone(),
        cure: fault.cure.clone(),
        cause: None,
    }
}

/// A service's words in one line, of a length that a log can bear.
pub(crate) fn in_a_line(text: &str) -> String {
    const LONGEST: usize = 500;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(LONGEST).collect()
}
