//! The hub's memory: all SQL, on SQLite and on PostgreSQL alike. Whoever wants to know what is stored asks here.
//!
//! One dialect serves both: `$1` parameters, texts, 64-bit integers, and `ON CONFLICT`. SQLite has one writer at a time, so
//! writing transactions queue in this process instead of meeting `SQLITE_BUSY`.

pub(crate) mod accounts;
pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod clients;
pub(crate) mod commands;
pub(crate) mod credentials;
pub(crate) mod drafts;
pub(crate) mod events;
pub(crate) mod figures;
pub(crate) mod instances;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod migrate;
pub(crate) mod notices;
pub(crate) mod part;
pub(crate) mod people;
pub(crate) mod pipelines;
pub(crate) mod recipients;
pub(crate) mod repeats;
pub(crate) mod retention;
pub(crate) mod sessions;
pub(crate) mod set_times;
pub(crate) mod text;
pub(crate) mod trust;
pub(crate) mod used;
pub(crate) mod wake;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::fault::{Cause, Refused};

pub use migrate::{Plan, plan};

/// Readers of SQLite, or connections to PostgreSQL.
const CONNECTIONS: u32 = 8;
/// How long a request waits for one of them.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same of whoever asks whether the database answers.
const ALIVE: Duration = Duration::from_secs(5);
/// What a connection to SQLite begins with.
const OF_SQLITE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                         PRAGMA busy_timeout = 5000";

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file in the hub's folder.
    Sqlite(std::path::PathBuf),
    /// A file that is only looked at: nothing is written into it or beside it.
    Copy(std::path::PathBuf),
    /// A server.
    Postgres(String),
}

impl Place {
    /// The default file in `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        Self::Sqlite(folder.join("hub.sqlite"))
    }

    fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite://{}?mode=rwc", escaped(file)),
            Self::Copy(file) => format!("sqlite://{}?mode=ro&immutable=true", escaped(file)),
            Self::Postgres(url) => url.clone(),
        }
    }

    fn is_server(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

/// A path as a part of an address, whatever stands in it: whole, for what comes first in an address would be a host.
fn escaped(file: &Path) -> String {
    let whole = std::path::absolute(file).unwrap_or_else(|_nowhere| file.to_owned());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let bytes = whole.as_os_str().as_encoded_bytes().iter();
    bytes.map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The open database.
#[derive(Clone)]
pub(crate) struct Db {
    pool: AnyPool,
    /// Queue of SQLite's writers; PostgreSQL needs none.
    writer: Option<Arc<Mutex<()>>>,
    /// Writings that the database itself has failed.
    failures: Arc<AtomicU64>,
}

/// What only one hub process may do at a time. The numbers are locks of PostgreSQL, beside that of the migrations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Alone {
    /// Make the first key that signs tokens.
    SigningKey = 0x6d69_7201,
    /// Make messages of what happened.
    Messages = 0x6d69_7202,
}

/// A writing transaction; without `commit` it never was.
///
/// Invariant: a connection goes back to the others only after the database has said that the transaction is over. After a failure
/// nobody can tell: SQLite, for one, ends a transaction by itself when the disk is full. Such a connection is closed.
///
/// Why not: sqlx's own transactions count what they began, and go on counting when the database has ended it.
pub(crate) struct Writing {
    /// Until the transaction is over.
    connection: Option<PoolConnection<Any>>,
    turn: Option<OwnedMutexGuard<()>>,
    failures: Arc<AtomicU64>,
}

impl Db {
    /// Opens it and brings its tables up to date.
    pub(crate) async fn open(place: &Place) -> Result<Self, Cause> {
        let db = Self::connect(place).await?;
        migrate::migrate(&db.pool, place).await?;
        Ok(db)
    }

    /// Opens it as it is.
    pub(crate) async fn connect(place: &Place) -> Result<Self, Cause> {
        sqlx::any::install_default_drivers();
        let sqlite = matches!(place, Place::Sqlite(_));
        let options: AnyConnectOptions = place.url().parse()?;
        // Once by itself: the pool would try for as long as a request waits, and only say that it took too long.
        match timeout(PATIENCE, look(&options, sqlite)).await {
            Ok(looked) => looked?,
            Err(_late) => return Err(sqlx::Error::PoolTimedOut.into()),
        }
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| Box::pin(begin(connection, sqlite)))
            .connect_with(options)
            .await?;
        Ok(Self { pool, writer: (!place.is_server()).then(Arc::default), failures: Arc::default() })
    }

    /// Whether other hub processes may have it open, too.
    pub(crate) fn is_shared(&self) -> bool {
        self.writer.is_none()
    }

    /// For reading.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins to write.
    pub(crate) async fn write(&self) -> Result<Writing, Refused> {
        let begun = self.begin_to_write().await;
        if begun.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        Ok(begun?)
    }

    async fn begin_to_write(&self) -> Result<Writing, sqlx::Error> {
        let turn = match &self.writer {
            Some(writer) => Some(Arc::clone(writer).lock_owned().await),
            None => None,
        };
        let begin = if turn.is_some() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let connection = Some(self.pool.acquire().await?);
        let mut writing = Writing { connection, turn, failures: Arc::clone(&self.failures) };
        sqlx::raw_sql(begin).execute(writing.on()).await?;
        Ok(writing)
    }

    /// How many writings the database itself has failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Begins to write what only one hub process may do at a time; the others wait here.
    pub(crate) async fn write_alone(&self, what: Alone) -> Result<Writing, Refused> {
        let mut writing = self.write().await?;
        if self.writer.is_none() {
            sqlx::query("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT)")
                .bind(what as i64)
                .execute(writing.on())
                .await?;
        }
        Ok(writing)
    }

    /// Whether it answers, and would be written to.
    pub(crate) async fn is_alive(&self) -> bool {
        matches!(timeout(ALIVE, self.write()).await, Ok(Ok(_)))
    }
}

/// Connects, makes sure that it is a database, and goes again.
async fn look(options: &AnyConnectOptions, sqlite: bool) -> Result<(), sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    begin(&mut connection, sqlite).await?;
    connection.close().await
}

async fn begin(connection: &mut AnyConnection, sqlite: bool) -> Result<(), sqlx::Error> {
    if sqlite {
        sqlx::raw_sql(OF_SQLITE).execute(connection).await?;
    }
    Ok(())
}

impl Writing {
    /// For a statement.
    pub(crate) fn on(&mut self) -> &mut AnyConnection {
        self.connection.as_mut().expect("a writing has its connection until it is over")
    }

    /// Makes it last.
    pub(crate) async fn commit(mut self) -> Result<(), Refused> {
        let done = sqlx::raw_sql("COMMIT").execute(self.on()).await;
        if done.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        done?;
        self.connection = None;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let (turn, failures) = (self.turn.take(), Arc::clone(&self.failures));
        #[expect(
            clippy::disallowed_methods,
            reason = "whoever gives a writing up does not wait, and may be gone itself"
        )]
        tokio::spawn(async move {
            if sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.is_err() {
                failures.fetch_add(1, Ordering::Relaxed);
                // It is of no use to anybody, however it goes.
                let _gone = connection.close().await;
            }
            drop(turn);
        });
    }
}

/// Whether an insert or update met a name or an agent that is taken, and which index said so.
pub(crate) fn taken(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    // PostgreSQL names the index, SQLite only its columns in the message.
    database.is_unique_violation().then(|| database.constraint().unwrap_or(database.message()).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn insert(writing: &mut Writing, bytes: usize) -> Result<(), Refused> {
        let insert = sqlx::query("INSERT INTO accounts (id, name, created_at) VALUES ($1, $2, 0)");
        insert.bind(uuid::Uuid::new_v4().to_string()).bind("x".repeat(bytes)).execute(writing.on()).await?;
        Ok(())
    }

    async fn wide(db: &Db, bytes: usize) -> Result<(), Refused> {
        let mut writing = db.write().await?;
        insert(&mut writing, bytes).await?;
        writing.commit().await
    }

    #[tokio::test]
    async fn a_database_that_was_full_for_a_moment_is_written_to_again() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Place::in_folder(folder.path())).await.unwrap();
        let mut writing = db.write().await.unwrap();
        // For this connection the disk is full.
        sqlx::raw_sql("PRAGMA max_page_count = 1").execute(writing.on()).await.unwrap();
        let full = insert(&mut writing, 1 << 20).await.unwrap_err();
        assert!(matches!(&full, Refused::Unavailable(cause) if cause.to_string().contains("full")), "{full:?}");
        drop(writing);
        // It is no longer among the others: there is room for whoever asks.
        for _ in 0..20 {
            wide(&db, 1 << 12).await.unwrap();
        }
        assert!(db.is_alive().await && db.failures() > 0);
    }

    #[tokio::test]
    async fn a_writing_that_is_given_up_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Place::in_folder(folder.path())).await.unwrap();
        for _ in 0..20 {
            let mut writing = db.write().await.unwrap();
            let insert = "INSERT INTO accounts (id, name, created_at) VALUES ('a', 'b', 0)";
            sqlx::query(insert).execute(writing.on()).await.unwrap();
        }
        wide(&db, 10).await.unwrap();
        assert_eq!(db.failures(), 0);
        let rows = sqlx::query("SELECT id FROM accounts").fetch_all(db.pool()).await.unwrap();
        assert_eq!(rows.len(), 1);
    }

    #[tokio::test]
    async fn a_folder_may_have_any_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a?b", "a#b", "50% off", "a b@c:1", "ä"] {
            let inner = folder.path().join(name);
            std::fs::create_dir(&inner).unwrap();
            let place = Place::in_folder(&inner);
            let db = Db::open(&place).await.unwrap();
            wide(&db, 10).await.unwrap();
            assert!(inner.join("hub.sqlite").exists(), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_and_a_server_that_is_not_there_are_said_at_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("hub.sqlite"),
            "no database at all, and long enough to be looked at".repeat(99),
        )
        .unwrap();
        let begun = std::time::Instant::now();
        let cause = Db::open(&Place::in_folder(folder.path())).await.err().unwrap();
        assert_eq!(millrace_model::Fault::from(cause).code, "HB-006");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let cause = Db::open(&Place::Postgres(format!("postgres://hub@{free}/hub"))).await.err().unwrap();
        let fault = millrace_model::Fault::from(cause);
        assert!(fault.code == "HB-003" && fault.to_string().contains("refused"), "{fault}");
        assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    }
}
