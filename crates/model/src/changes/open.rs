//! What leaves memory inside a transaction: what has ended, and apart from it what has not.

use std::sync::Arc;

use arrow_schema::ArrowError;

use super::{Changes, TableChanges, Transaction, resolve, take_resolved};
use crate::batch::{Batch, Run};

impl Changes {
    /// Inside a transaction: takes everything out of memory. First the rows of transactions that have ended, then those of
    /// the open one, whose runs do not know their end yet (`Run::open`).
    pub fn take_open(&mut self) -> Result<(Vec<Batch>, Vec<Batch>), ArrowError> {
        let (mut ended, mut unended) = (Vec::new(), Vec::new());
        // In the order in which they were set aside: of one table, whole transactions and such that came in pieces may lie
        // there by turns.
        for aside in std::mem::take(&mut self.aside) {
            match aside.survivors {
                None => take_parted(aside.rows, &self.transactions, (&mut ended, &mut unended))?,
                Some(_) => ended.extend(resolve(aside, &self.transactions)?),
            }
        }
        for slot in std::mem::take(&mut self.dirty) {
            let Some(place) = self.tables.get_mut(slot) else { continue };
            if let Some(table) = place.take() {
                *place = Some(TableChanges::new(Arc::clone(&table.schema)));
                take_parted(table, &self.transactions, (&mut ended, &mut unended))?;
            }
        }
        self.held_bytes = 0;
        self.batch_ready = false;
        Ok((ended, unended))
    }
}

/// Takes the rows of a table, those of ended transactions apart from those of the open one.
fn take_parted(
    mut table: TableChanges,
    transactions: &[Transaction],
    (ended, unended): (&mut Vec<Batch>, &mut Vec<Batch>),
) -> Result<(), ArrowError> {
    let open = transactions.len().saturating_sub(1);
    let first_open = table.runs.last().filter(|&&(_, transaction)| transaction == open).map(|&(row, _)| row);
    let mut batch = take_resolved(&mut table, transactions)?;
    if let Some(row) = first_open {
        let base = transactions.get(open).map_or(0, |transaction| transaction.base);
        unended.push(batch.split_off(row, Run::open(base as i64)));
    }
    if batch.rows() > 0 {
        ended.push(batch);
    }
    Ok(())
}
