//! A publication that is altered while a pipeline runs.
//!
//! The log carries what the publication publishes as of each change, and has no word of what it did not: a publication that
//! leaves out deletes for a while loses them in silence. So every look at the tables looks at its options too. That one was
//! narrowed and widened again between two looks shows in nothing but the row that the catalogue has of it, which is a new
//! one then; that alone proves no loss, and is told.

use std::sync::{Mutex, PoisonError};

use crate::client::session::Row;
use crate::fault::{Cause, cure};
use crate::publication::Candidate;
use crate::relation::membership_mark;
use crate::settings::Settings;

/// The catalogue's row of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The transaction that wrote it.
    by: u32,
    /// A change of the owner writes it anew as well, and alters nothing for us.
    owner: u32,
}

/// How the publication was last seen.
#[derive(Debug, Default)]
pub(crate) struct LastSeen(Mutex<Option<Written>>);

impl Written {
    /// Of a row of `queries::memberships`.
    pub(crate) fn of(row: &Row) -> Option<Self> {
        Some(Self { by: row.number(9).ok()?, owner: row.number(10).ok()? })
    }
}

impl LastSeen {
    /// Says so where the publication was altered since.
    pub(crate) fn see(&self, settings: &Settings, now: Option<Written>) {
        let Some(now) = now else { return };
        // A poisoned lock: another thread has panicked, and what was seen is whole all the same.
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if before.is_some_and(|before| before.by != now.by && before.owner == now.owner) {
            let publication = &settings.publication;
            tracing::warn!(
                code = "PG-015",
                cure = cure::altered_publication(),
                "publication {publication} was altered while the pipeline ran; now it publishes all changes"
            );
        }
    }
}

/// Refuses a publication that hands out a table of ours, and not all that happens to it. `row` is one of
/// `queries::memberships`.
pub(crate) fn judge(settings: &Settings, candidate: &Candidate, row: &Row) -> Result<(), Cause> {
    if membership_mark(candidate.oid, row).is_none() {
        return Ok(());
    }
    let (publication, table) = (settings.publication.clone(), candidate.full_name());
    if !row.truth(8) {
        let why = format!("it leaves out a kind of change of table {table}, or has them under its partitions' names");
        return Err(Cause::NarrowedPublication { publication, why });
    }
    if let Some(why) = row.get(7).and_then(|_filter| candidate.filter_obstacle()) {
        return Err(Cause::UnfitPublication { publication, why });
    }
    match row.get(11) {
        Some(columns) => {
            let why = format!("its column list of table {table} leaves out columns of the key: {columns}");
            Err(Cause::UnfitPublication { publication, why })
        }
        None => Ok(()),
    }
}
