//! A snapshot of the scripted database: every table is read in four chunks, by place.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use millrace_model::{
    ByteSize, Chunk, ChunkReader, ColumnBuilder, Fault, Filled, Plan, Position, Snapshot, TableChanges, TableName,
};

use super::{ScriptedSource, World, number, unanswered};
use crate::fuse::Fuse;

/// Bounds between the chunks of every scripted table: places, not keys.
const BOUNDS: [i64; 3] = [25, 50, 75];

pub(super) struct ScriptedSnapshot {
    source: ScriptedSource,
    position: Position,
    /// As they were when the snapshot was made.
    rewrites: BTreeMap<String, u64>,
}

impl ScriptedSnapshot {
    pub(super) fn new(source: &ScriptedSource, position: Position) -> Self {
        let rewrites = source.world.state().rewrites.clone();
        Self { source: source.clone(), position, rewrites }
    }
}

#[async_trait]
impl Snapshot for ScriptedSnapshot {
    fn position(&self) -> &Position {
        &self.position
    }

    async fn plan(&self, table: &TableName, done: &[(String, String)]) -> Result<Plan, Fault> {
        let world = self.source.world.clone();
        let name = table.parts().last().cloned().unwrap_or_default();
        let at = number(&self.position);
        let schema =
            self.source.fuse.step("plan a table", move || world.schema_at(&name, at)).await.map_err(unanswered)?;
        let name = table.parts().last().map_or("", String::as_str);
        let relation = self.rewrites.get(name).copied().unwrap_or(0).to_string();
        let bound = |at: usize| BOUNDS.get(at).map_or_else(String::new, ToString::to_string);
        let chunks = (0..=BOUNDS.len())
            .map(|at| Chunk { from: at.checked_sub(1).map_or_else(String::new, bound), to: bound(at) });
        let open = |chunk: &Chunk| !done.iter().any(|range| covers(range, chunk));
        Ok(Plan { schema, relation, split: "place".into(), chunks: chunks.filter(open).collect(), rows_estimate: 10 })
    }

    async fn reader(&self) -> Result<Box<dyn ChunkReader>, Fault> {
        self.source.fuse.step("import the snapshot", || ()).await.map_err(unanswered)?;
        let (world, rewrites) = (self.source.world.clone(), self.rewrites.clone());
        Ok(Box::new(ScriptedReader {
            world,
            fuse: self.source.fuse.clone(),
            rewrites,
            at: number(&self.position),
            chunk: None,
        }))
    }
}

fn covers(range: &(String, String), chunk: &Chunk) -> bool {
    let low = |text: &str| text.parse().unwrap_or(i64::MIN);
    let high = |text: &str| text.parse().unwrap_or(i64::MAX);
    low(&range.0) <= low(&chunk.from) && high(&range.1) >= high(&chunk.to)
}

struct ScriptedReader {
    world: World,
    fuse: Fuse,
    rewrites: BTreeMap<String, u64>,
    at: u64,
    chunk: Option<(String, Chunk)>,
}

#[async_trait]
impl ChunkReader for ScriptedReader {
    async fn begin(&mut self, plan: &Plan, chunk: &Chunk) -> Result<(), Fault> {
        let table = plan.schema.table.parts().last().cloned().unwrap_or_default();
        self.chunk = Some((table, chunk.clone()));
        Ok(())
    }

    async fn fill(&mut self, rows: &mut TableChanges, _limit: ByteSize) -> Result<Filled, Fault> {
        let Some((table, chunk)) = self.chunk.take() else { return Err(Fault::defect("TK-008", "fill before begin")) };
        self.fuse.step("read a chunk", || ()).await.map_err(unanswered)?;
        // Long enough for commits between chunks.
        tokio::time::sleep(Duration::from_millis(60)).await;
        let rewritten = self.world.rewrites(&table) != self.rewrites.get(&table).copied().unwrap_or(0);
        // The trap: under an older snapshot a rewritten table looks empty.
        let seen = if rewritten { BTreeMap::new() } else { self.world.rows_at(&table, self.at) };
        let places = self.world.places_at(&table, self.at);
        let range = (chunk.from.clone(), chunk.to.clone());
        let here = |id: &i64| places.get(id).is_some_and(|&place| covers(&range, &point(place)));
        for (id, value) in seen.into_iter().filter(|(id, _)| here(id)) {
            rows.begin_read(32);
            if let [ColumnBuilder::Int64(ids), ColumnBuilder::Text(values)] = rows.columns.as_mut_slice() {
                ids.append_value(id);
                values.append_option(value);
            }
        }
        Ok(if self.world.rewrites(&table) == self.rewrites.get(&table).copied().unwrap_or(0) {
            Filled::Whole
        } else {
            Filled::Rewritten
        })
    }
}

/// A chunk of one place.
fn point(place: i64) -> Chunk {
    Chunk { from: place.to_string(), to: (place + 1).to_string() }
}
