//! The crash model: the engine over a scripted source and a scripted target that die, hang, lose answers or land late at
//! every step. Each test carries the sentence of `docs/specs/file-lake.md`, or the counterexample, that it holds.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails, and one looks for what it looks for"
)]

mod crash;
mod decisions;
mod earlier_files;
mod entries;
mod gaps;
mod given_up;
mod heard;
mod pace;
mod restarts;
mod said_once;
mod schema_change;
mod snapshots;
mod stage;
mod starts_anew;
mod takeover;
mod unread;
mod unreadable;
