//! What the tests share: a clock that stands until told, settings, a table, changes, and short ways through the ports.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use millrace_files::{Compression, Decimals, Files, Form, Format, Layout, MemoryStore, Settings, Store};
use millrace_model::{
    Batch, ByteSize, Chain, Changes, Checkpoint, Claim, Claimed, Clock, Column, ColumnBuilder, CommitKind, Committed,
    Head, Kind, Op, Position, Prepared, Registry, Round, Sequence, SourceIdentity, StagedFile, Standing, TableEntry,
    TableName, TableSchema, Target, Timestamp, TransactionEnd,
};

/// A clock that a test sets.
#[derive(Clone)]
pub(crate) struct SetClock(Arc<AtomicI64>);

impl SetClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Timestamp::parse("2026-11-22T14:03:07.412Z").unwrap().0)))
    }

    /// So many seconds after a moment of the machine's clock.
    pub(crate) fn set(&self, moment: std::time::SystemTime, seconds: i64) {
        let since = moment.duration_since(std::time::UNIX_EPOCH).unwrap();
        self.0.store(since.as_micros() as i64 + seconds * 1_000_000, Ordering::SeqCst);
    }

    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) const PARQUET_FLAT: Form =
    Form { format: Format::Parquet, layout: Layout::Flat, compression: Compression::Zstd, decimals: Decimals::Logical };

pub(crate) fn settings(instance: &str) -> Settings {
    Settings {
        prefix: String::new(),
        form: PARQUET_FLAT,
        file_max_bytes: ByteSize::mib(128),
        pipeline: "shop".into(),
        instance: instance.into(),
        epoch: None,
        version: "0.1.0".into(),
    }
}

pub(crate) fn writer(store: &MemoryStore, instance: &str) -> Files {
    Files::new(settings(instance), Arc::new(store.clone()), Arc::new(SetClock::new()))
}

pub(crate) fn writer_at(store: &MemoryStore, instance: &str, clock: &SetClock) -> Files {
    Files::new(settings(instance), Arc::new(store.clone()), Arc::new(clock.clone()))
}

pub(crate) fn writer_on(store: Arc<dyn Store>, instance: &str) -> Files {
    Files::new(settings(instance), store, Arc::new(SetClock::new()))
}

pub(crate) fn identity() -> SourceIdentity {
    SourceIdentity { kind: "postgres".into(), identity: "7312|timeline 1|slot millrace_shop".into() }
}

/// What a first claim says.
pub(crate) fn nothing_yet() -> Standing {
    Standing {
        pipeline: "shop".into(),
        epoch: None,
        source: identity(),
        checkpoint: Checkpoint::default(),
        registry: None,
        snapshots: Vec::new(),
        written_at: Timestamp::default(),
    }
}

pub(crate) fn prepare_claim(files: &Files, head: &Head) -> Prepared {
    let standing = head.standing.clone().unwrap_or_else(nothing_yet);
    files.prepare_claim(head, &Claim { standing, removed: Arc::default() }).unwrap()
}

/// S2 and S3, alone.
pub(crate) async fn claim(files: &Files) -> Box<dyn Chain> {
    let head = files.head().await.unwrap();
    match files.claim(&prepare_claim(files, &head)).await.unwrap() {
        Claimed::Mine(chain) => chain,
        Claimed::Taken => panic!("somebody else claimed"),
    }
}

pub(crate) fn column(name: &str, id: u32, kind: Kind) -> Column {
    Column { name: name.into(), id, kind, type_name: kind.to_string(), nullable: true }
}

/// `shop.public.<name>`: id int8 (the key), note text.
pub(crate) fn table(name: &str) -> Arc<TableSchema> {
    Arc::new(TableSchema {
        table: TableName::new(["shop", "public", name]),
        source_id: "16423.1".into(),
        columns: vec![column("id", 1, Kind::Int64), column("note", 2, Kind::Text)],
        key: vec![0],
    })
}

/// A keyless form of `table`.
pub(crate) fn keyless(name: &str) -> Arc<TableSchema> {
    Arc::new(TableSchema { key: Vec::new(), ..(*table(name)).clone() })
}

/// One change of `table`: op, id, note (`None`: unavailable).
pub(crate) type Row<'a> = (Op, i64, Option<&'a str>);

pub(crate) fn append(changes: &mut Changes, slot: usize, (op, id, note): Row<'_>) {
    let row = changes.row(slot, op, 20).unwrap();
    if let ColumnBuilder::Int64(ids) = &mut row.columns[0] {
        if op == Op::Truncate { ids.append_null() } else { ids.append_value(id) }
    }
    match note {
        Some(note) => {
            if let ColumnBuilder::Text(notes) = &mut row.columns[1] {
                notes.append_value(note);
            }
        }
        None if matches!(op, Op::Delete | Op::Truncate) => row.columns[1].append_null(),
        None => row.append_unavailable(1),
    }
}

pub(crate) fn end_of(transaction: u64) -> TransactionEnd {
    TransactionEnd {
        position: Position::new(format!("0/{transaction:08X}")),
        id: transaction.to_string().into(),
        commit: Timestamp(1_795_356_000_000_000 + transaction as i64 * 1_000_000),
    }
}

/// Batches of transactions of one table; each transaction is a list of rows.
pub(crate) fn batches(
    schema: &Arc<TableSchema>,
    after: u64,
    first_transaction: u64,
    rows: &[&[Row<'_>]],
) -> Vec<Batch> {
    let mut changes = Changes::new(Sequence(after), ByteSize::mib(1));
    changes.define(0, Arc::clone(schema));
    for (i, transaction) in rows.iter().enumerate() {
        changes.begin();
        transaction.iter().for_each(|row| append(&mut changes, 0, *row));
        changes.commit(end_of(first_transaction + i as u64));
    }
    changes.take_all().unwrap()
}

/// A heartbeat at sequence 0, without tables.
pub(crate) fn empty_round(number: u64) -> Round {
    Round {
        number,
        kind: CommitKind::Heartbeat,
        checkpoint: Checkpoint { position: Some(end_of(1).position), sequence: Sequence(0) },
        source: identity(),
        registry: Registry::default(),
        snapshots: Vec::new(),
        transactions: 0,
        files: Vec::new(),
        removed: Arc::default(),
    }
}

/// A writer that has claimed, with what an engine would remember.
pub(crate) struct Writer {
    pub files: Files,
    pub chain: Box<dyn Chain>,
    pub registry: Registry,
    pub sequence: u64,
    pub transaction: u64,
    pub round: u64,
    pub clock: SetClock,
}

impl Writer {
    pub(crate) async fn start(store: &MemoryStore, instance: &str) -> Self {
        let clock = SetClock::new();
        let files = writer_at(store, instance, &clock);
        Self::over(files, clock).await
    }

    pub(crate) async fn over(files: Files, clock: SetClock) -> Self {
        let chain = claim(&files).await;
        let head = files.head().await.unwrap();
        let registry = files.registry(&head).await.unwrap();
        let standing = head.standing.unwrap();
        Self {
            files,
            chain,
            registry,
            sequence: standing.checkpoint.sequence.0,
            transaction: standing.checkpoint.sequence.0 * 100 + 1,
            round: 0,
            clock,
        }
    }

    /// Stages the files of the next round.
    pub(crate) async fn stage(&mut self, schema: &Arc<TableSchema>, rows: &[&[Row<'_>]]) -> Vec<StagedFile> {
        self.round += 1;
        let mut round = self.chain.stager().round(self.round, self.clock.now());
        let version = version_of(&mut self.registry, schema);
        for batch in batches(schema, self.sequence, self.transaction, rows) {
            round.write(batch, version).await.unwrap();
        }
        round.finish().await.unwrap()
    }

    /// The round that names `files`.
    pub(crate) fn round_of(&self, files: Vec<StagedFile>) -> Round {
        let rows: u64 = files.iter().map(|file| file.rows - file.ops.read).sum();
        let position = end_of(self.transaction).position;
        Round {
            number: self.round,
            kind: if files.is_empty() { CommitKind::Heartbeat } else { CommitKind::Changes },
            checkpoint: Checkpoint { position: Some(position), sequence: Sequence(self.sequence + rows) },
            source: identity(),
            registry: self.registry.clone(),
            snapshots: Vec::new(),
            transactions: 1,
            files,
            removed: Arc::default(),
        }
    }

    /// A whole round: stage, prepare, commit.
    pub(crate) async fn commit(&mut self, schema: &Arc<TableSchema>, rows: &[&[Row<'_>]]) -> Vec<StagedFile> {
        let files = self.stage(schema, rows).await;
        let round = self.round_of(files.clone());
        self.commit_round(&round).await;
        self.transaction += rows.len() as u64;
        files
    }

    pub(crate) async fn commit_round(&mut self, round: &Round) {
        let prepared = self.chain.prepare(round).unwrap();
        assert_eq!(self.chain.commit(&prepared).await.unwrap(), Committed::Done);
        self.sequence = round.checkpoint.sequence.0;
    }
}

/// The version of `schema`, whose table joins where it is new.
pub(crate) fn version_of(registry: &mut Registry, schema: &TableSchema) -> u32 {
    if registry.get(&schema.table).is_none() {
        registry.put(TableEntry::new(schema));
    }
    registry.version_of(schema).unwrap()
}

/// A round with a row of snapshot `id` for each key, anchored at the writer's sequence; the registry is as it was.
pub(crate) async fn snapshot_round(one: &mut Writer, schema: &Arc<TableSchema>, id: u64, keys: &[i64]) -> Round {
    one.round += 1;
    let mut round = one.chain.stager().round(one.round, one.clock.now());
    let version = version_of(&mut one.registry, schema);
    for key in keys {
        let mut rows = millrace_model::TableChanges::new(Arc::clone(schema));
        rows.begin_read(20);
        if let ColumnBuilder::Int64(ids) = &mut rows.columns[0] {
            ids.append_value(*key);
        }
        if let ColumnBuilder::Text(notes) = &mut rows.columns[1] {
            notes.append_value(format!("snapshot {id}"));
        }
        let position = end_of(one.transaction).position;
        round.write(rows.take_snapshot(id, Sequence(one.sequence), position).unwrap(), version).await.unwrap();
    }
    let files = round.finish().await.unwrap();
    Round { kind: CommitKind::Changes, ..one.round_of(files) }
}
