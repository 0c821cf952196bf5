//! The hub from outside, by a plain HTTP client, in process, on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod addresses;
mod agents;
mod browser;
mod clients;
mod conformance;
mod console;
mod document;
mod doors;
mod guards;
mod history;
mod house;
mod people;
mod pipelines;
mod roles;
mod rotation;
mod running;
mod security;
mod tenants;
mod tokens;
mod visitor;
mod walk;
