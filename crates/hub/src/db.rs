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
pub(crate) mod people;
pub(crate) mod pipelines;
pub(crate) mod recipients;
pub(crate) mod repeats;
pub(crate) mod sessions;
pub(crate) mod set_times;
pub(crate) mod text;
pub(crate) mod trust;
pub(crate) mod wake;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyPool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::fault::{Cause, Refused};

pub use migrate::{Plan, plan};

/// Readers of SQLite, or connections to PostgreSQL.
const CONNECTIONS: u32 = 8;
/// How long a request waits for one of them.
const PATIENCE: Duration = Duration::from_secs(10);

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
            Self::Sqlite(file) => format!("sqlite://{}?mode=rwc", file.display()),
            Self::Copy(file) => format!("sqlite://{}?mode=ro&immutable=true", file.display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// The open database.
#[derive(Clone)]
pub(crate) struct Db {
    pool: AnyPool,
    /// Queue of SQLite's writers; PostgreSQL needs none.
    writer: Option<Arc<Mutex<()>>>,
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
pub(crate) struct Writing {
    transaction: Transaction<'static, Any>,
    _turn: Option<OwnedMutexGuard<()>>,
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
        let shared = matches!(place, Place::Postgres(_));
        let options: AnyConnectOptions = place.url().parse()?;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sqlite {
                        sqlx::raw_sql(
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                             PRAGMA busy_timeout = 5000",
                        )
                        .execute(&mut *connection)
                        .await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool, writer: (!shared).then(Arc::default) })
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
        let turn = match &self.writer {
            Some(writer) => Some(Arc::clone(writer).lock_owned().await),
            None => None,
        };
        let transaction = match &self.writer {
            Some(_) => self.pool.begin_with("BEGIN IMMEDIATE").await?,
            None => self.pool.begin().await?,
        };
        Ok(Writing { transaction, _turn: turn })
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

    /// Whether it answers.
    pub(crate) async fn is_alive(&self) -> bool {
        sqlx::query("SELECT 1").execute(&self.pool).await.is_ok()
    }
}

impl Writing {
    /// For a statement.
    pub(crate) fn on(&mut self) -> &mut sqlx::AnyConnection {
        &mut self.transaction
    }

    /// Makes it last.
    pub(crate) async fn commit(self) -> Result<(), Refused> {
        Ok(self.transaction.commit().await?)
    }
}

/// Whether an insert or update met a name or an agent that is taken, and which index said so.
pub(crate) fn taken(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    // PostgreSQL names the index, SQLite only its columns in the message.
    database.is_unique_violation().then(|| database.constraint().unwrap_or(database.message()).to_owned())
}
