//! The crash model: the engine over a scripted source and a scripted target that die, hang, lose answers or land late at
//! every step. Each test carries the sentence of `docs/specs/file-lake.md`, or the counterexample, that it holds.

mod crash;
mod gaps;
mod heard;
mod pace;
mod schema_change;
mod snapshots;
mod stage;
mod takeover;
