//! The shop: a few related tables whose rows keep changing at a given rate, from a seed, until told to stop.
//!
//! The transactions are written by `mover` and fed to `psql`, one session for each mover.

mod mover;
mod random;
mod values;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use mover::Mover;
pub use random::Random;

use crate::fault::{Fault, Result};
use crate::postgres::Database;

/// The shop's tables, all in the schema `public`.
pub const TABLES: [&str; 4] = ["customers", "orders", "order_lines", "visits"];

/// Makes the shop's tables, empty.
pub fn create_shop(database: &Database) -> Result<()> {
    database.sql(include_str!("workload/shop.sql")).map(drop)
}

/// How much the shop does.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Sessions that write at the same time.
    pub movers: u16,
    /// Transactions a second, of all movers together; `None` is as many as go.
    pub transactions_a_second: Option<u32>,
}

/// What a load has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Transactions that were carried out, those rolled back included.
    pub transactions: u64,
}

/// A shop in motion. Dropped without `stop`, it stops too, and a fault of it is lost.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
    /// Held by every mover during a transaction; who holds it alone has a shop that stands still.
    floor: Arc<RwLock<()>>,
    movers: Vec<JoinHandle<Result<()>>>,
}

/// While this is held, no transaction is under way.
#[derive(Debug)]
pub struct Pause<'a>(#[expect(dead_code, reason = "held, never read")] RwLockWriteGuard<'a, ()>);

impl Load {
    /// Sets the shop in `database` in motion.
    pub fn start(database: &Database, seed: u64, pace: Pace) -> Result<Self> {
        Self::with_movers_from(database, seed, 0, pace)
    }

    /// The same with movers that are numbered from `first`: beside, or after, those of another load of the same shop,
    /// whose keys they never use.
    pub fn with_movers_from(database: &Database, seed: u64, first: u16, pace: Pace) -> Result<Self> {
        let mut load =
            Self { stop: Arc::default(), transactions: Arc::default(), floor: Arc::default(), movers: Vec::new() };
        for number in first..first + pace.movers {
            let session = database.session()?;
            let between = pace.transactions_a_second.map(|rate| Duration::from_secs(1) * u32::from(pace.movers) / rate);
            let (stop, transactions) = (Arc::clone(&load.stop), Arc::clone(&load.transactions));
            let floor = Arc::clone(&load.floor);
            let mover = Mover::new(seed, number);
            load.movers.push(thread::spawn(move || drive(mover, session, between, &floor, &stop, &transactions)));
        }
        Ok(load)
    }

    /// Lets every mover finish its transaction and wait until the pause is dropped.
    pub fn pause(&self) -> Pause<'_> {
        Pause(self.floor.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether no mover has ended by itself; why one has, `stop` says.
    pub fn is_moving(&self) -> bool {
        !self.movers.iter().any(JoinHandle::is_finished)
    }

    /// What has been done so far.
    pub fn done(&self) -> Done {
        Done { transactions: self.transactions.load(Ordering::Relaxed) }
    }

    /// Lets every mover finish its transaction, and says what was done in all.
    pub fn stop(mut self) -> Result<Done> {
        self.stop.store(true, Ordering::Relaxed);
        for mover in std::mem::take(&mut self.movers) {
            mover.join().map_err(|_panic| Fault::Unexpected("a mover panicked".into()))??;
        }
        Ok(self.done())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Carries out `count` transactions of one mover, as fast as they go. For tests that need rows but no clock.
pub fn move_rows(database: &Database, mover: &mut Mover, count: usize) -> Result<()> {
    let mut session = database.session()?;
    for _ in 0..count {
        session.tell(&mover.transaction())?;
    }
    session.settle().map(drop)
}

fn drive(
    mut mover: Mover,
    mut session: crate::postgres::Session,
    between: Option<Duration>,
    floor: &RwLock<()>,
    stop: &AtomicBool,
    transactions: &AtomicU64,
) -> Result<()> {
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let open = floor.read().unwrap_or_else(PoisonError::into_inner);
        session.run(&mover.transaction())?;
        drop(open);
        transactions.fetch_add(1, Ordering::Relaxed);
        if let Some(between) = between {
            // Counted from when it was due, so that a slow transaction is made up for; a long stall is not.
            let now = Instant::now();
            due = (due + between).max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Server;

    #[test]
    fn the_shop_moves_until_it_is_stopped_and_then_stands_still() {
        let server = Server::start().unwrap();
        let database = server.create_database("shop").unwrap();
        create_shop(&database).unwrap();
        let load = Load::start(&database, 3, Pace { movers: 2, transactions_a_second: None }).unwrap();
        while load.done().transactions < 600 {
            assert!(load.is_moving(), "{:?}", load.stop());
        }
        let done = load.stop().unwrap();
        assert!(done.transactions >= 600);
        let count = || database.sql("SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders)").unwrap();
        let still = count();
        assert!(still.split('|').all(|rows| rows.parse::<u32>().unwrap() > 20), "{still}");
        assert_eq!(count(), still);
        let large = database.sql("SELECT count(*) FROM customers WHERE pg_column_size(notes) > 2000").unwrap();
        assert_ne!(large, "0");
    }

    #[test]
    fn a_pause_lets_no_transaction_through_and_then_the_shop_goes_on() {
        let server = Server::start().unwrap();
        let database = server.create_database("shop").unwrap();
        create_shop(&database).unwrap();
        let load = Load::with_movers_from(&database, 3, 5, Pace { movers: 2, transactions_a_second: None }).unwrap();
        for _ in 0..3 {
            let before = load.done().transactions;
            while load.done().transactions < before + 20 {
                assert!(load.is_moving(), "{:?}", load.stop());
            }
            let pause = load.pause();
            let still = database.sql("SELECT count(*), sum(id) FROM orders").unwrap();
            assert!(
                database.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'").unwrap()
                    == "0"
            );
            assert_eq!(database.sql("SELECT count(*), sum(id) FROM orders").unwrap(), still);
            drop(pause);
        }
        let keys = database.sql("SELECT min(id) > 50000000, max(id) < 70000000 FROM customers").unwrap();
        assert_eq!(keys, "t|t");
        load.stop().unwrap();
    }

    #[test]
    fn thousands_of_transactions_of_many_seeds_meet_no_error() {
        let server = Server::start().unwrap();
        for seed in 0..3 {
            let database = server.create_database(&format!("shop{seed}")).unwrap();
            create_shop(&database).unwrap();
            move_rows(&database, &mut Mover::new(seed, 0), 1500).unwrap();
            for table in TABLES {
                assert_ne!(database.sql(&format!("SELECT count(*) FROM {table}")).unwrap(), "0", "{table}");
            }
        }
    }
}
