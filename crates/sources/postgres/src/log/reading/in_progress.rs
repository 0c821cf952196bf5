//! Transactions in progress: how their tables look, until they end.
//!
//! The server describes each table once in every such transaction, and anew after a part of it was rolled back. What it
//! says there holds for that transaction alone (a rollback undoes its DDL); at its commit it holds for all, and the server
//! will not repeat it.
//!
//! **Doubts.** The catalogue does not show what a transaction in progress has done to a table. Where the log describes it
//! as neither the catalogue nor the lake has it, its rows are read by the log's word, and the question is put again, and
//! answered for good, when the end of the transaction has come, before it is taken in.
//!
//! **Whether a row counts is a matter of the end**, but is judged when it comes. Where a table joined or left in between,
//! the log gives up: a connection without transactions in progress has no such question.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use millrace_model::{TableName, TableSchema};

use super::{Counted, Described};
use crate::decode::message::Relation;

/// All transactions in progress.
#[derive(Default)]
pub(in crate::log) struct InProgress {
    /// The one whose changes come now, and its part.
    current: Option<(u32, Pieces)>,
    pub(in crate::log) part: u32,
    others: HashMap<u32, Pieces>,
}

/// One transaction in progress.
#[derive(Default)]
pub(in crate::log) struct Pieces {
    /// By oid, with the number of the description.
    pub(in crate::log) tables: HashMap<u32, (u64, Described)>,
    seen: Vec<Seen>,
    doubts: VecDeque<Doubt>,
}

/// A table of which changes may have come.
struct Seen {
    table: TableName,
    /// Where it was not in doubt.
    schema: Option<Arc<TableSchema>>,
    counted: bool,
}

/// A description that only the end of the transaction can explain.
pub(in crate::log) struct Doubt {
    /// The transaction.
    pub(in crate::log) xid: u32,
    part: u32,
    pub(in crate::log) number: u64,
    pub(in crate::log) relation: Relation,
    /// What rows were read by; `None` where none were, because the table did not count.
    pub(in crate::log) provisional: Option<Arc<TableSchema>>,
}

impl InProgress {
    /// The transaction whose changes come now.
    pub(in crate::log) fn xid(&self) -> Option<u32> {
        self.current.as_ref().map(|(xid, _)| *xid)
    }

    pub(in crate::log) fn current(&mut self) -> Option<&mut Pieces> {
        self.current.as_mut().map(|(_, pieces)| pieces)
    }

    /// What a table is now: for the transaction whose changes come, or else as `whole` has it.
    pub(super) fn table<'a>(&'a self, oid: u32, whole: &'a HashMap<u32, Described>) -> Option<&'a Described> {
        match &self.current {
            Some((_, pieces)) => pieces.tables.get(&oid).map(|(_, described)| described),
            None => whole.get(&oid),
        }
    }

    pub(super) fn enter(&mut self, xid: u32) {
        self.current = Some((xid, self.others.remove(&xid).unwrap_or_default()));
        self.part = xid;
    }

    pub(super) fn leave(&mut self) {
        self.others.extend(self.current.take());
    }

    /// A part of a transaction is rolled back; `part` = `xid` is all of it.
    pub(super) fn undo(&mut self, xid: u32, part: u32) {
        if part == xid {
            self.others.remove(&xid);
        } else if let Some(pieces) = self.others.get_mut(&xid) {
            // The server describes all its tables anew (`cleanup_rel_sync_cache`).
            pieces.tables.clear();
            pieces.doubts.retain(|doubt| doubt.part != part);
        }
    }

    /// A doubt about a transaction that has ended.
    pub(super) fn doubt(&mut self, xid: u32) -> Option<Doubt> {
        self.others.get_mut(&xid)?.doubts.pop_front()
    }

    pub(super) fn end(&mut self, xid: u32) -> Option<Pieces> {
        self.others.remove(&xid)
    }

    /// What a doubt has turned out to be.
    pub(in crate::log) fn settle(&mut self, doubt: &Doubt, described: Described) {
        let Some(pieces) = self.others.get_mut(&doubt.xid) else { return };
        let oid = doubt.relation.oid;
        if pieces.tables.get(&oid).is_none_or(|(number, _)| *number <= doubt.number) {
            pieces.tables.insert(oid, (doubt.number, described));
        }
    }
}

impl Pieces {
    pub(in crate::log) fn see(&mut self, table: TableName, schema: Option<Arc<TableSchema>>, counted: bool) {
        self.seen.push(Seen { table, schema, counted });
    }

    pub(in crate::log) fn doubt(
        &mut self,
        xid: u32,
        part: u32,
        number: u64,
        relation: Relation,
        provisional: Option<Arc<TableSchema>>,
    ) {
        self.doubts.push_back(Doubt { xid, part, number, relation, provisional });
    }

    /// A table whose changes counted when they came and do not now, or the other way round.
    pub(super) fn moved(&self, counted: &Counted) -> Option<&TableName> {
        let counts = |seen: &Seen| match &seen.schema {
            Some(schema) => counted.has(schema),
            None => counted.names(&seen.table),
        };
        self.seen.iter().find(|seen| counts(seen) != seen.counted).map(|seen| &seen.table)
    }
}
