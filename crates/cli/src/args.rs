//! The command line as it is written. What it means is for each command to find out.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Streams every change of a database into a data lake, exactly once.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    /// How to print: human on a terminal, else json
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<Format>,
    /// What to log: info unless told otherwise; `agent` also takes it from `LOG_LEVEL`
    #[arg(long, global = true, value_enum)]
    pub(crate) log_level: Option<LogLevel>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
}

/// What to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Arguments {
    /// What to log: the flag's word, for an agent also its environment's.
    pub(crate) fn log_level(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<LogLevel, millrace_agent::Cause> {
        const NAME: &str = "LOG_LEVEL";
        let word = if let (None, Command::Agent) = (self.log_level, &self.command) { variable(NAME) } else { None };
        let Some(word) = word else { return Ok(self.log_level.unwrap_or(LogLevel::Info)) };
        LogLevel::from_str(&word, true).map_err(|_unknown| {
            let cure = "write LOG_LEVEL as error, warn, info, debug or trace";
            millrace_agent::Cause::setting(NAME, &format!("is `{word}`, which is no level"), cure)
        })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline until it is stopped
    Run(RunArguments),
    /// Look for everything that is in the way of a pipeline
    Check(FileArguments),
    /// Show the tables of the source
    Discover(DiscoverArguments),
    /// Show how far the lake is; asks only the target
    Status(FileArguments),
    /// Print a table's committed rows as JSON lines
    Read(ReadArguments),
    /// Prove that the lake is whole; reads every file
    Fsck(FileArguments),
    /// Begin tables anew
    Restart(RestartArguments),
    /// Drop what the pipeline made in the source; the lake stays
    Cleanup(CleanupArguments),
    /// Ask a running pipeline, agent or hub whether it is ready
    Health(HealthArguments),
    /// Print the JSON Schema of the pipeline file
    Schema,
    /// Run one pipeline as a hub wishes, from the environment
    Agent,
    /// Serve the hub, or do something to one
    Hub(HubArguments),
    /// The agents of a hub, through its API
    Agents(AgentsArguments),
    /// The pipelines of a hub's project, through its API
    Pipelines(PipelinesArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ApiArguments {
    /// Address of the hub; else `HUB_URL`
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) hub: Option<String>,
    /// Id of an API client; else `API_CLIENT_ID`
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// File with its secret; else the variable `API_CLIENT_SECRET`
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AgentsArguments {
    #[command(flatten)]
    pub(crate) api: ApiArguments,
    #[command(subcommand)]
    pub(crate) command: AgentsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// All agents of the account
    List,
    /// A new agent
    Create {
        /// Its name
        name: String,
        /// aws, azure or gcp
        #[arg(long)]
        cloud_provider: String,
        /// fargate or eks, aci or aks, gke or gce
        #[arg(long)]
        deployment: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
    },
    /// One agent, by id or name
    Describe {
        /// Id or name
        agent: String,
    },
    /// The credentials that its process signs in with
    Credentials {
        /// Id or name
        agent: String,
    },
    /// Remove an agent for good
    Delete {
        /// Id or name
        agent: String,
        /// Also while its pipeline is started
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PipelinesArguments {
    #[command(flatten)]
    pub(crate) api: ApiArguments,
    /// Id of the project; else `PROJECT_ID`
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) project: Option<String>,
    #[command(subcommand)]
    pub(crate) command: PipelinesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PipelinesCommand {
    /// All pipelines of the project, with their statuses
    List,
    /// One pipeline, by id or name
    Describe {
        /// Id or name
        pipeline: String,
    },
    /// Start it
    Start {
        /// Id or name
        pipeline: String,
    },
    /// Stop it
    Stop {
        /// Id or name
        pipeline: String,
    },
    /// Read its tables anew
    Restart {
        /// Id or name
        pipeline: String,
        /// Only these tables, as schema.table
        #[arg(long, value_delimiter = ',', value_name = "TABLE,…")]
        tables: Option<Vec<String>>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Delete it; its lake stays
    Delete {
        /// Id or name
        pipeline: String,
        /// Also drop slot and publication in the source
        #[arg(long)]
        cleanup: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Create the pipeline of a file, or replace the one of its name
    Apply {
        /// The pipeline file
        #[arg(short, long)]
        file: PathBuf,
        /// Id or name of its agent; else `agentId` in the file
        #[arg(long)]
        agent: Option<String>,
        /// And start it
        #[arg(long)]
        start: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HubArguments {
    /// Where to listen; else `HUB_LISTEN`, else 127.0.0.1:8080
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// The hub's folder; else `HUB_DATA`, else ./millrace-hub
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// A PostgreSQL server in place of a file in the folder; else `HUB_DATABASE_URL`
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<HubCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HubCommand {
    /// Set up an empty hub without a browser
    Bootstrap(BootstrapArguments),
    /// Make a one-time link for the owner of a further account
    Invite,
    /// Show what a start would do to the database
    Migrate {
        /// Show it
        #[arg(long)]
        plan: bool,
    },
    /// Copy the database, while the hub runs or not, and say what else belongs to it
    Backup {
        /// File that the copy becomes
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Look for everything that is wrong with the hub, from where it runs
    Doctor,
}

#[derive(Debug, Args)]
pub(crate) struct BootstrapArguments {
    /// E-mail address of the first owner
    #[arg(long)]
    pub(crate) owner_email: String,
    /// File with the first owner's password
    #[arg(long)]
    pub(crate) owner_password_file: PathBuf,
    /// Name of the account
    #[arg(long)]
    pub(crate) account: String,
    /// Name of its project
    #[arg(long)]
    pub(crate) project: String,
    /// Name of its first API client
    #[arg(long)]
    pub(crate) api_client: String,
}

#[derive(Debug, Args)]
pub(crate) struct FileArguments {
    /// The pipeline file
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The pipeline file
    pub(crate) file: PathBuf,
    /// Stop when everything that is in the log now is in the lake
    #[arg(long, value_enum)]
    pub(crate) until: Option<Until>,
    /// Answer /metrics, /livez and /readyz at this address
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct HealthArguments {
    /// Where it listens; else `LISTEN` or `HUB_LISTEN`
    #[arg(long, value_name = "HOST:PORT", default_value = millrace_agent::listen::DEFAULT_ADDRESS)]
    pub(crate) listen: String,
}

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    Now,
}

#[derive(Debug, Args)]
pub(crate) struct DiscoverArguments {
    /// The pipeline file
    pub(crate) file: PathBuf,
    /// Only tables of this schema
    #[arg(long)]
    pub(crate) schema: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    /// The pipeline file
    pub(crate) file: PathBuf,
    /// The table: database.schema.table or schema.table
    #[arg(long)]
    pub(crate) table: String,
    /// Its current rows instead of its changes
    #[arg(long)]
    pub(crate) state: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestartArguments {
    /// The pipeline file
    pub(crate) file: PathBuf,
    /// Earlier files leave the lake, and the next run reads the tables anew
    #[arg(long, required = true)]
    pub(crate) snapshot: bool,
    /// Only these tables, as schema.table; all of them where this is left out
    #[arg(long, value_delimiter = ',', value_name = "TABLE,…")]
    pub(crate) tables: Option<Vec<String>>,
    /// Also where the lake belongs to another pipeline or another source
    #[arg(long)]
    pub(crate) adopt: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CleanupArguments {
    /// The pipeline file
    pub(crate) file: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}
