//! Who is asking: people's passwords and sessions, secrets and their hashes, access tokens, and the key that seals what must be readable again.

pub(crate) mod addresses;
pub(crate) mod password;
pub(crate) mod proof;
pub(crate) mod public_key;
pub(crate) mod rate;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod session;
pub(crate) mod throttle;
pub(crate) mod token;
pub(crate) mod trust;

use std::time::Duration;

use millrace_model::Timestamp;

/// A caller of the API or the gateway, known by its token.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) account_id: String,
    pub(crate) principal: Principal,
    pub(crate) role: Role,
    /// Where the request came from.
    pub(crate) address: String,
}

/// What kind of caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A machine that uses the API.
    Client(String),
    /// A person in the console.
    Person(String),
}

/// What a caller may do, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Reads.
    Viewer,
    /// Changes agents and pipelines, too.
    Editor,
    /// Changes people, API clients and settings, too.
    Owner,
}

impl Role {
    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Owner => "owner",
        }
    }

    /// What it may, in a sentence.
    pub(crate) fn may(self) -> &'static str {
        match self {
            Self::Viewer => "looks at agents and pipelines",
            Self::Editor => {
                "also creates, changes, starts, stops and removes agents and pipelines, and sees credentials"
            }
            Self::Owner => "also changes people, API clients, projects and settings, and reads the whole audit log",
        }
    }

    /// Reads its word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Editor, Self::Owner].into_iter().find(|role| role.as_str() == word)
    }
}

impl Caller {
    /// For the audit log and for authors: `client:ID`, `person:ID`.
    pub(crate) fn actor(&self) -> String {
        match &self.principal {
            Principal::Client(id) => format!("client:{id}"),
            Principal::Person(id) => format!("person:{id}"),
        }
    }
}

/// Whether the time that began at `since` still lasts. Where the clock stands before that it was set back: what began then is over, for
/// nobody knows how long ago it was.
pub(crate) fn lasts(since: Timestamp, span: Duration, now: Timestamp) -> bool {
    u64::try_from(now.0 - since.0).is_ok_and(|gone| u128::from(gone) < span.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_later_than_now_is_over() {
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let minute = Duration::from_mins(1);
        let asked = [-1, 0, 59, 60].map(|second| lasts(at(0), minute, at(second)));
        assert_eq!(asked, [false, true, true, false]);
    }
}
