//! The commands, one file each. A command takes its part of the command line, does its work through `wiring`, prints its
//! result through `console`, and returns its exit code.

pub(crate) mod agent;
pub(crate) mod agents;
pub(crate) mod check;
pub(crate) mod cleanup;
pub(crate) mod discover;
pub(crate) mod fsck;
pub(crate) mod health;
pub(crate) mod hub;
pub(crate) mod pipelines;
pub(crate) mod read;
pub(crate) mod restart;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod status;

/// Exit code of a command that did what it was asked for.
const DONE: u8 = 0;
/// Exit code of a check that found an error.
const FOUND: u8 = 1;

/// A variable of the environment, for the commands whose settings it holds.
#[expect(clippy::disallowed_methods, reason = "hub, agent and the API's client take settings from the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
