//! Stands in for the source and the target until they are merged. To be deleted: then `wiring` drops `stand_in::`.
#![expect(dead_code, reason = "the settings are only passed on")]

pub(crate) mod millrace_postgres {
    use async_trait::async_trait;
    use millrace_model::*;

    #[derive(Clone, Debug)]
    pub(crate) struct TableSelection {
        pub(crate) schema: String,
        pub(crate) table: String,
    }
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum PublicationMode {
        Create,
        Use,
    }
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Binary {
        Auto,
        On,
        Off,
    }
    #[derive(Clone, Debug)]
    pub(crate) struct Settings {
        pub(crate) host: String,
        pub(crate) port: u16,
        pub(crate) database: String,
        pub(crate) username: String,
        pub(crate) password: Option<SecretValue>,
        pub(crate) tables: Vec<TableSelection>,
        pub(crate) slot: String,
        pub(crate) slot_is_default: bool,
        pub(crate) publication: String,
        pub(crate) publication_mode: PublicationMode,
        pub(crate) binary: Binary,
        pub(crate) streaming: bool,
    }
    #[derive(Default, PartialEq)]
    pub(crate) struct CleanupPlan {
        pub(crate) slot: Option<String>,
        pub(crate) publication: Option<String>,
    }
    pub(crate) struct DiscoveredTable {
        pub(crate) schema: String,
        pub(crate) table: String,
        pub(crate) key: Vec<String>,
        pub(crate) columns: Vec<DiscoveredColumn>,
        pub(crate) rows_estimate: u64,
        pub(crate) bytes: u64,
        pub(crate) findings: Vec<Finding>,
    }
    pub(crate) struct DiscoveredColumn {
        pub(crate) name: String,
        pub(crate) type_name: String,
        pub(crate) kind: Kind,
        pub(crate) nullable: bool,
    }
    pub(crate) struct Postgres(Settings);

    impl Postgres {
        pub(crate) fn new(settings: Settings) -> Self {
            Self(settings)
        }
        pub(crate) async fn discover(&self, _schema: Option<&str>) -> Result<Vec<DiscoveredTable>, Fault> {
            Err(absent())
        }
        pub(crate) async fn cleanup_plan(&self) -> Result<CleanupPlan, Fault> {
            Err(absent())
        }
        pub(crate) async fn cleanup(&self) -> Result<CleanupPlan, Fault> {
            Err(absent())
        }
    }

    fn absent() -> Fault {
        Fault::retry("PG-000", "the source is not merged yet")
    }

    #[async_trait]
    impl Source for Postgres {
        async fn check(&self) -> Result<Vec<Finding>, Fault> {
            Err(absent())
        }
        async fn take(&self) -> Result<Taken, Fault> {
            Err(absent())
        }
        async fn create(&self) -> Result<Box<dyn Held>, Fault> {
            Err(absent())
        }
        async fn recreate(&self) -> Result<(SourceIdentity, Position), Fault> {
            Err(absent())
        }
        fn same(&self, one: &SourceIdentity, other: &SourceIdentity) -> bool {
            one == other
        }
        async fn end(&self) -> Result<Position, Fault> {
            Err(absent())
        }
    }
}

pub(crate) mod millrace_files {
    use std::path::PathBuf;
    use std::sync::Arc;

    use async_trait::async_trait;
    use millrace_model::*;
    use serde_json::{Value, json};

    pub(crate) enum Compression {
        Zstd,
        Snappy,
        None,
    }
    pub(crate) struct Settings {
        pub(crate) prefix: String,
        pub(crate) compression: Compression,
        pub(crate) file_max_bytes: ByteSize,
        pub(crate) pipeline: String,
        pub(crate) instance: String,
        pub(crate) epoch: Option<u64>,
        pub(crate) version: String,
    }
    pub(crate) struct LocalStore(PathBuf);
    impl LocalStore {
        pub(crate) fn new(root: PathBuf) -> Self {
            Self(root)
        }
    }
    pub(crate) struct Files(Settings);
    impl Files {
        pub(crate) fn new(settings: Settings, _store: Arc<LocalStore>, _clock: Arc<dyn Clock>) -> Self {
            Self(settings)
        }
    }
    pub(crate) async fn status(_files: &Files) -> Result<Value, Fault> {
        Ok(json!({"pipeline": null, "head": 0, "checkpoint": null, "written_at": null, "writer": null, "tables": [],
            "snapshots": []}))
    }
    pub(crate) async fn fsck(_files: &Files) -> Result<Value, Fault> {
        Ok(json!({"ok": true, "head": 0, "files": 0, "rows": 0, "leftovers": 0, "breach": null}))
    }
    pub(crate) async fn read(
        _files: &Files,
        _table: &str,
        _state: bool,
        _out: &mut (dyn FnMut(&str) -> Result<(), Fault> + Send),
    ) -> Result<(), Fault> {
        Err(absent())
    }

    fn absent() -> Fault {
        Fault::refused("FL-000", Refusal::Spec, "the target is not merged yet", "merge it")
    }

    #[async_trait]
    impl Target for Files {
        async fn check(&self) -> Result<Vec<Finding>, Fault> {
            Ok(Vec::new())
        }
        async fn head(&self) -> Result<Head, Fault> {
            Err(absent())
        }
        async fn files_of(&self, _head: &Head, _tables: Option<&[String]>) -> Result<Vec<String>, Fault> {
            Err(absent())
        }
        fn prepare_claim(&self, _head: &Head, _claim: &Claim) -> Result<Prepared, Fault> {
            Err(absent())
        }
        async fn claim(&self, _prepared: &Prepared) -> Result<Claimed, Fault> {
            Err(absent())
        }
    }
}
