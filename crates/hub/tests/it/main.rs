//! The hub from outside, by a plain HTTP client, in process, on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod browser;
mod conformance;
mod console;
mod docs;
mod document;
mod doors;
mod figures;
mod guards;
mod history;
mod house;
mod past;
mod pipelines;
mod running;
mod tokens;
mod walk;
