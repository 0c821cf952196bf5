//! What an identity is looked for in: environment variables, files, the network and the time.
//!
//! All of it comes through here, so that a test can put a fake of a cloud around an identity.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use millrace_model::{Clock, Fault, Timestamp};

use crate::http::Http;

type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Variables, network and time.
#[derive(Clone)]
pub struct Surroundings {
    variables: Variables,
    pub(crate) http: Http,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Result<Self, Fault> {
        Self::new(variable_of_process, Arc::new(WallClock))
    }

    /// Others. `CUSTOM_CERT_LOCATION` among the variables is a file of further certificates to trust.
    pub fn new(
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Fault> {
        let variables: Variables = Arc::new(variables);
        let certificates = ["CUSTOM_CERT_LOCATION"].iter().filter_map(|name| filled(&variables, name));
        let http = Http::new(&certificates.map(PathBuf::from).collect::<Vec<_>>())?;
        Ok(Self { variables, http, clock })
    }

    /// The same, with one more file of certificates to trust.
    pub fn trusting(&self, certificates: PathBuf) -> Result<Self, Fault> {
        let all: Vec<PathBuf> =
            self.variable("CUSTOM_CERT_LOCATION").map(PathBuf::from).into_iter().chain([certificates]).collect();
        Ok(Self { http: Http::new(&all)?, ..self.clone() })
    }

    /// A variable; an empty one counts as none, as shells and task definitions cannot always unset one.
    pub fn variable(&self, name: &str) -> Option<String> {
        filled(&self.variables, name)
    }

    /// The client for what lies outside.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A file below the user's home.
    pub(crate) fn in_home(&self, path: &str) -> Option<PathBuf> {
        self.variable("HOME").map(|home| PathBuf::from(home).join(path))
    }
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings")
    }
}

fn filled(variables: &Variables, name: &str) -> Option<String> {
    variables(name).filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the one place where identities read the environment")]
fn variable_of_process(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "it is the clock")]
    fn now(&self) -> Timestamp {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_micros());
        Timestamp(micros.ok().and_then(|micros| i64::try_from(micros).ok()).unwrap_or_default())
    }
}
