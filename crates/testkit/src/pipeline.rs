//! Pipeline files for tests: a throw-away database as the source, a folder as the target.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::fault::{Fault, Result};
use crate::postgres::{Database, SUPERUSER};

/// A pipeline file that has been written, and the lake that it fills.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The pipeline file.
    pub file: PathBuf,
    /// The root of the lake.
    pub lake: PathBuf,
    /// The pipeline's name.
    pub name: String,
    /// The source's database, the first part of table names.
    pub database: String,
    /// Tables without database and schema; the schema is `public`.
    pub tables: Vec<String>,
    /// What `millrace` needs to find in its environment.
    pub environment: Vec<(String, String)>,
}

/// What a pipeline file shall say.
#[derive(Clone, Debug)]
pub struct Draft {
    name: String,
    database: String,
    port: u16,
    tables: Vec<String>,
    properties: Vec<(String, String)>,
    password_variable: Option<String>,
    /// Format, layout and compression of the target.
    form: [String; 3],
    target: Option<Place>,
}

/// A target other than a local folder.
#[derive(Clone, Debug)]
pub struct Place {
    /// Type and fields of the target, as they stand in the file; without those of the files' form.
    pub fields: Map<String, Value>,
    /// The same place as a folder, for the independent reader.
    pub folder: PathBuf,
    /// The credentials.
    pub environment: Vec<(String, String)>,
}

impl Draft {
    /// From `tables` (schema `public`) of `database` to local Parquet in the flat layout, a commit each second.
    pub fn new(name: &str, database: &Database, tables: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            database: database.name().to_owned(),
            port: database.port(),
            tables: tables.iter().map(|table| (*table).to_owned()).collect(),
            properties: vec![("commit.interval".to_owned(), "1s".to_owned())],
            password_variable: None,
            form: ["parquet", "flat", "zstd"].map(str::to_owned),
            target: None,
        }
    }

    /// To another place than a local folder.
    #[must_use]
    pub fn to(mut self, place: Place) -> Self {
        self.target = Some(place);
        self
    }

    /// One of `advancedProperties`; a later one wins.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.retain(|(known, _)| known != key);
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Format, layout and compression of the target.
    #[must_use]
    pub fn form(mut self, (format, layout, compression): (&str, &str, &str)) -> Self {
        self.form = [format, layout, compression].map(str::to_owned);
        self
    }

    /// The password stands in this environment variable.
    #[must_use]
    pub fn password_from(mut self, variable: &str) -> Self {
        self.password_variable = Some(variable.to_owned());
        self
    }

    /// Another port, of a proxy for example.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Writes `pipeline.yaml` in `folder`; the lake will be `folder/lake`.
    pub fn write(&self, folder: &Path) -> Result<Pipeline> {
        let file = folder.join("pipeline.yaml");
        fs::write(&file, self.text()).map_err(Fault::io(&file))?;
        Ok(Pipeline {
            file,
            lake: self.target.as_ref().map_or_else(|| folder.join("lake"), |place| place.folder.clone()),
            name: self.name.clone(),
            database: self.database.clone(),
            tables: self.tables.clone(),
            environment: self.target.as_ref().map(|place| place.environment.clone()).unwrap_or_default(),
        })
    }

    /// The same pipeline as a hub takes it, for the agent of that id; the lake will be `folder/lake`.
    pub fn body(&self, agent_id: &str, folder: &Path) -> Value {
        let tables = self.tables.iter().map(|table| json!({"schema": "public", "table": table}));
        let properties = self.properties.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        let mut connection = json!({"host": "127.0.0.1", "port": self.port, "database": self.database,
            "username": SUPERUSER, "jdbcProperties": {"sslmode": "disable"}});
        if let (Some(variable), Value::Object(connection)) = (&self.password_variable, &mut connection) {
            connection.insert("password".into(), json!({"secretType": "env", "secretName": variable}));
        }
        json!({
            "name": self.name,
            "agentId": agent_id,
            "streamingSource": {"type": "postgres", "connection": connection, "tables": tables.collect::<Vec<_>>()},
            "streamingTarget": self.target_fields(&folder.join("lake")),
            "advancedProperties": properties.collect::<Map<_, _>>(),
        })
    }

    fn target_fields(&self, lake: &Path) -> Map<String, Value> {
        let local = || Map::from_iter([("type".to_owned(), "local".into()), ("path".to_owned(), json!(lake))]);
        let mut fields = self.target.as_ref().map_or_else(local, |place| place.fields.clone());
        for (name, value) in ["format", "layout", "compression"].into_iter().zip(&self.form) {
            fields.insert(name.into(), value.as_str().into());
        }
        fields
    }

    /// JSON is YAML too: the target is written as it is sent.
    fn text(&self) -> String {
        let tables = self.tables.iter().map(|table| format!("    - {{schema: public, table: \"{table}\"}}\n"));
        let properties = self.properties.iter().map(|(key, value)| format!("  {key}: \"{value}\"\n"));
        let password = self
            .password_variable
            .iter()
            .map(|variable| format!("    password: {{secretType: env, secretName: {variable}}}\n"));
        format!(
            "version: 1\nname: {}\nstreamingSource:\n  type: postgres\n  connection:\n    host: 127.0.0.1\n    port: {}\n    \
             database: {}\n    username: {SUPERUSER}\n{}    jdbcProperties: {{sslmode: disable}}\n  tables:\n{}\
             streamingTarget: {}\n\
             advancedProperties:\n{}",
            self.name,
            self.port,
            self.database,
            password.collect::<String>(),
            tables.collect::<String>(),
            Value::from(self.target_fields(Path::new("./lake"))),
            properties.collect::<String>(),
        )
    }
}

impl Pipeline {
    /// The full name of a table, as it stands in commits.
    pub fn full_name(&self, table: &str) -> String {
        format!("{}.public.{table}", self.database)
    }
}
