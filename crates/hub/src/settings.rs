//! The hub's settings, from flags and the environment (`docs/reference/cli.md`).

use std::path::PathBuf;
use std::time::Duration;

use crate::db::Place;
use crate::fault::Cause;

/// How a hub runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen at, `127.0.0.1:8080`.
    pub listen: String,
    /// The hub's folder: database, key.
    pub data: PathBuf,
    /// A PostgreSQL server in place of the file in `data`.
    pub database_url: Option<String>,
    /// The address that browsers and agents use, without a slash at the end.
    pub public_url: String,
    /// The key that seals secrets; made in `data` where this is absent.
    pub key_file: Option<PathBuf>,
    /// Image URI that the console and the API show.
    pub agent_image: String,
    /// How long a sync is held for news.
    pub poll: Duration,
    /// How long a question waits for its agent.
    pub patience: Duration,
    /// How long a lease is valid without a sync.
    pub lease: Duration,
}

/// Shown where `HUB_AGENT_IMAGE` is not set.
const IMAGE: &str = concat!("ghcr.io/millrace/millrace:", env!("CARGO_PKG_VERSION"));

impl Settings {
    /// The defaults for a hub in `data` that listens at `listen`.
    pub fn new(listen: impl Into<String>, data: impl Into<PathBuf>) -> Self {
        let listen = listen.into();
        Self {
            public_url: format!("http://{listen}"),
            listen,
            data: data.into(),
            database_url: None,
            key_file: None,
            agent_image: IMAGE.to_owned(),
            poll: Duration::from_secs(15),
            patience: Duration::from_mins(5),
            lease: Duration::from_secs(45),
        }
    }

    /// Where the database is.
    pub fn place(&self) -> Place {
        match &self.database_url {
            Some(url) => Place::Postgres(url.clone()),
            None => Place::in_folder(&self.data),
        }
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data.join("hub.key"))
    }

    /// Makes the folder.
    pub(crate) fn prepare(&self) -> Result<(), Cause> {
        std::fs::create_dir_all(&self.data)
            .map_err(|error| Cause::File { path: self.data.display().to_string(), error })
    }
}
