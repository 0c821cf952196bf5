//! Figures over time, in two resolutions: as they came for two days, by quarters of an hour for thirteen months.
//!
//! Invariant: a row holds counters as they stood at its moment, never differences. So a row that is written twice, or not at
//! all, or by another hub process, changes no sum.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use crate::fault::Refused;

/// Microseconds of a quarter of an hour.
pub(crate) const QUARTER: i64 = 900 * 1_000_000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Rows,
    Bytes,
    Inserts,
    Updates,
    Deletes,
    Truncates,
    Reads,
    Commits,
    /// Microseconds that commits took.
    CommitTime,
    /// Milliseconds of the processor.
    Cpu,
}

/// How many there are.
const COUNTERS: usize = 10;
/// Their columns, in that order.
const COLUMNS: &str = "row_count, byte_count, inserts, updates, deletes, truncates, reads, commits, commit_us, cpu_ms";

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counters([i64; COUNTERS]);

impl Counters {
    /// As one counter stood.
    #[cfg(test)]
    pub(crate) fn of(&self, counter: Counter) -> i64 {
        self.0.get(counter as usize).copied().unwrap_or_default()
    }

    /// Takes one down.
    pub(crate) fn set(&mut self, counter: Counter, value: i64) {
        if let Some(place) = self.0.get_mut(counter as usize) {
            *place = value;
        }
    }

    /// How much each has grown since `before`; one that fell has not.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut grown = *self;
        for (now, then) in grown.0.iter_mut().zip(before.0) {
            *now = (*now - then).max(0);
        }
        grown
    }

    /// Each of them, in the order of [`Counter`].
    pub(crate) fn each(&self) -> [i64; COUNTERS] {
        self.0
    }
}

/// Figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    /// When the counters began at nothing, by the agent's clock.
    pub(crate) run: i64,
    /// The largest since the sample before, in microseconds.
    pub(crate) lag: Option<i64>,
    /// The mean of the same.
    pub(crate) lag_mean: Option<i64>,
    /// Bytes of its log that the source keeps.
    pub(crate) retained: Option<i64>,
    /// Bytes of memory.
    pub(crate) memory: Option<i64>,
    pub(crate) counters: Counters,
}

/// What an id's figures are kept under: the half of a UUID that is random, as a small key for many rows.
pub(crate) fn series(id: &str) -> i64 {
    let (_, low) = uuid::Uuid::try_parse(id).unwrap_or_default().as_u64_pair();
    // Two bits are the same in all of them.
    i64::try_from(low & (u64::MAX >> 2)).unwrap_or_default()
}

/// Adds a sample of an agent.
pub(crate) async fn add_of_agent(on: &mut AnyConnection, agent_id: &str, sample: &Sample) -> Result<(), Refused> {
    insert(on, agent_id, sample, ("agents", agent_id)).await
}

/// Adds a sample of a pipeline, if it is this agent's.
pub(crate) async fn add_of_pipeline(
    on: &mut AnyConnection,
    (pipeline_id, agent_id): (&str, &str),
    sample: &Sample,
) -> Result<(), Refused> {
    insert(on, pipeline_id, sample, ("pipelines", agent_id)).await
}

async fn insert(
    on: &mut AnyConnection,
    id: &str,
    sample: &Sample,
    (table, agent_id): (&str, &str),
) -> Result<(), Refused> {
    // An agent may write only what is its own, whatever its report names.
    let own =
        if table == "agents" { "id = $17 AND id = $18" } else { "id = $17 AND agent_id = $18 AND deleted_at IS NULL" };
    let sql = format!(
        "INSERT INTO samples (series, at, run, lag_us, retained, memory, {COLUMNS}) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16 \
         WHERE EXISTS (SELECT 1 FROM {table} WHERE {own}) ON CONFLICT DO NOTHING"
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(series(id))
        .bind(sample.at.0)
        .bind(sample.run)
        .bind(sample.lag)
        .bind(sample.retained)
        .bind(sample.memory);
    for counter in sample.counters.each() {
        query = query.bind(counter);
    }
    query.bind(id).bind(agent_id).execute(on).await?;
    Ok(())
}

fn sample(row: &AnyRow) -> Sample {
    let mut counters = Counters::default();
    for (place, column) in counters.0.iter_mut().zip(COLUMNS.split(", ")) {
        *place = row.get(column);
    }
    let lag: Option<i64> = row.get("lag_us");
    Sample {
        at: Timestamp(row.get("at")),
        run: row.get("run"),
        lag,
        lag_mean: row.try_get::<Option<i64>, _>("lag_mean").unwrap_or(lag),
        retained: row.get("retained"),
        memory: row.get("memory"),
        counters,
    }
}

/// The samples from `from` to `to` as they came, and the last one before them.
pub(crate) async fn fine<'e>(
    on: impl Executor<'e, Database = Any>,
    series: i64,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Sample>, Refused> {
    let sql = format!(
        "SELECT at, run, lag_us, retained, memory, {COLUMNS} FROM samples WHERE series = $1 AND at <= $3 \
         AND at >= COALESCE((SELECT MAX(at) FROM samples WHERE series = $1 AND at <= $2), $2) ORDER BY at"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(series).bind(from.0).bind(to.0).fetch_all(on).await?;
    Ok(rows.iter().map(sample).collect())
}

/// The same by quarters of an hour, and the end of the last quarter.
pub(crate) async fn quarters<'e>(
    on: impl Executor<'e, Database = Any>,
    series: i64,
    (from, to): (Timestamp, Timestamp),
) -> Result<(Vec<Sample>, Option<Timestamp>), Refused> {
    let sql = format!(
        "SELECT slot, at, run, lag_us, CASE WHEN lags > 0 THEN lag_sum / lags END AS lag_mean, retained, memory, {COLUMNS} \
         FROM sample_quarters WHERE series = $1 AND slot <= $3 \
         AND slot >= COALESCE((SELECT MAX(slot) FROM sample_quarters WHERE series = $1 AND at <= $2), $2 - {QUARTER}) ORDER BY at"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(series).bind(from.0).bind(to.0).fetch_all(on).await?;
    let end = rows.iter().map(|row| row.get::<i64, _>("slot") + QUARTER).max();
    Ok((rows.iter().map(sample).collect(), end.map(Timestamp)))
}

/// Rows that were counted by each of these series since `from`, one sample for each `width` microseconds.
pub(crate) async fn rows_of<'e>(
    on: impl Executor<'e, Database = Any>,
    series: &[i64],
    from: Timestamp,
    width: i64,
) -> Result<Vec<(i64, Sample)>, Refused> {
    let list = series.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT series, run, MAX(at) AS at, MAX(row_count) AS row_count FROM samples \
         WHERE series IN ({list}) AND at >= $1 GROUP BY series, run, at / {width} ORDER BY 1, 3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(from.0).fetch_all(on).await?;
    let one = |row: &AnyRow| {
        let mut counters = Counters::default();
        counters.set(Counter::Rows, row.get("row_count"));
        (row.get("series"), Sample { at: Timestamp(row.get("at")), run: row.get("run"), counters, ..Sample::default() })
    };
    Ok(rows.iter().map(one).collect())
}

/// Whose figures are kept: each agent and each pipeline, and whether it is gone by now. One that went before `since` has
/// nothing left.
pub(crate) async fn kept<'e>(
    on: impl Executor<'e, Database = Any>,
    since: Timestamp,
) -> Result<Vec<(i64, bool)>, Refused> {
    let rows = sqlx::query(
        "SELECT id, removed_at AS gone FROM agents WHERE removed_at IS NULL OR removed_at > $1 \
         UNION ALL SELECT id, deleted_at FROM pipelines WHERE deleted_at IS NULL OR deleted_at > $1 ORDER BY 1",
    )
    .bind(since.0)
    .fetch_all(on)
    .await?;
    let one = |row: &AnyRow| (series(&row.get::<String, _>("id")), row.get::<Option<i64>, _>("gone").is_some());
    Ok(rows.iter().map(one).collect())
}

/// Adds up the quarters of an hour that are over at `closed` and were not added up yet.
pub(crate) async fn add_up<'e>(
    on: impl Executor<'e, Database = Any>,
    series: i64,
    closed: Timestamp,
) -> Result<(), Refused> {
    let sums: Vec<String> = COLUMNS.split(", ").map(|column| format!("MAX({column})")).collect();
    let sql = format!(
        "INSERT INTO sample_quarters (series, slot, at, run, lag_us, lag_sum, lags, retained, memory, {COLUMNS}) \
         SELECT series, (at / {QUARTER}) * {QUARTER}, MAX(at), run, MAX(lag_us), CAST(SUM(lag_us) AS BIGINT), \
         COUNT(lag_us), MAX(retained), MAX(memory), {} FROM samples WHERE series = $1 AND at < $2 \
         AND at >= COALESCE((SELECT MAX(slot) + {QUARTER} FROM sample_quarters WHERE series = $1), 0) \
         GROUP BY series, (at / {QUARTER}) * {QUARTER}, run ON CONFLICT DO NOTHING",
        sums.join(", ")
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(series).bind(closed.0).execute(on).await?;
    Ok(())
}

/// Forgets what is older: of the samples, and of the quarters.
pub(crate) async fn forget(
    on: &mut AnyConnection,
    series: i64,
    (samples, quarters): (Timestamp, Timestamp),
) -> Result<(), Refused> {
    let sql = "DELETE FROM samples WHERE series = $1 AND at < $2";
    sqlx::query(sql).bind(series).bind(samples.0).execute(&mut *on).await?;
    let sql = "DELETE FROM sample_quarters WHERE series = $1 AND slot < $2";
    sqlx::query(sql).bind(series).bind(quarters.0).execute(on).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_differ_have_series_that_differ_and_a_counter_that_fell_has_not_grown() {
        let (one, other) = (uuid::Uuid::now_v7().to_string(), uuid::Uuid::now_v7().to_string());
        assert_ne!(series(&one), series(&other));
        assert_eq!(series(&one), series(&one));
        let (mut before, mut after) = (Counters::default(), Counters::default());
        before.set(Counter::Rows, 7);
        before.set(Counter::Cpu, 7);
        after.set(Counter::Rows, 9);
        let grown = after.since(&before);
        assert_eq!((grown.of(Counter::Rows), grown.of(Counter::Cpu)), (2, 0));
    }
}
