//! The hub from outside, by a plain HTTP client, in process, on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod backups;
mod browser;
mod conformance;
mod console;
mod document;
mod doors;
mod guards;
mod history;
mod house;
mod manners;
mod notifications;
mod outside;
mod pipelines;
mod running;
mod set_times;
mod several;
mod tokens;
mod walk;
mod wizard;
