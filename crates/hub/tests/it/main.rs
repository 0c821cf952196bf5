//! The hub from outside, by a plain HTTP client, in process, on SQLite and on PostgreSQL.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, figures come back as they were sent, and tasks end with their test"
)]

mod addresses;
mod agents;
mod backups;
mod browser;
mod clients;
mod conformance;
mod console;
mod deaf;
mod docs;
mod document;
mod doors;
mod drafts;
mod figures;
mod gateway;
mod guards;
mod history;
mod house;
mod install;
mod lists;
mod manners;
mod notifications;
mod outside;
mod past;
mod people;
mod pipelines;
mod roles;
mod rotation;
mod running;
mod security;
mod set_times;
mod several;
mod siege;
mod tenants;
mod tokens;
mod trust;
mod visitor;
mod walk;
mod wizard;
mod wizard_target;
mod workload;
