//! A past for screens to be looked at: figures of a month, with a restart and a gap, as agents would have reported them.

use crate::house::House;
use millrace_model::Clock;

const SECOND: i64 = 1_000_000;
const QUARTER: i64 = 900 * SECOND;
const COUNTERS: &str = "row_count, byte_count, inserts, updates, deletes, truncates, reads, commits, commit_us, cpu_ms";

/// What the figures of an id are kept under, as `db/figures.rs` says.
fn series(id: &str) -> i64 {
    let (_, low) = uuid::Uuid::try_parse(id).expect("an id is a UUID").as_u64_pair();
    i64::try_from(low & (u64::MAX >> 2)).expect("62 bits")
}

/// A wave that looks like a day's work: between 0 and 1, never the same twice.
fn wave(at: i64) -> f64 {
    let seconds = (at / SECOND) as f64;
    let slow = (seconds / 4_000.0).sin() * 0.35 + 0.5;
    let fast = (seconds / 97.0).sin() * (seconds / 41.0).cos() * 0.15;
    (slow + fast).clamp(0.02, 1.0)
}

/// Counters and gauges at one moment.
struct Told {
    at: i64,
    run: i64,
    lag: i64,
    counters: [i64; 10],
}

/// What would have been told from `from` to `to`, every `step`.
fn told(from: i64, to: i64, step: i64) -> Vec<Told> {
    let restart = to - 1_500 * SECOND;
    let gap = to - 2_700 * SECOND..to - 2_340 * SECOND;
    let (mut all, mut run, mut counters) = (Vec::new(), from - 3_600 * SECOND, [0i64; 10]);
    let mut at = from;
    while at <= to {
        if at >= restart && run < restart {
            (run, counters) = (restart, [0; 10]);
        }
        let seconds = ((at - run).min(step) / SECOND) as f64;
        let rows = (12_000.0 * wave(at) * seconds) as i64;
        let commits = step / SECOND;
        let grown = [
            rows,
            rows * 81,
            rows * 6 / 10,
            rows * 3 / 10,
            rows / 10,
            0,
            rows / 4,
            commits,
            (commits as f64 * (18_000.0 + 30_000.0 * wave(at * 3))) as i64,
            (220.0 * wave(at) * seconds) as i64,
        ];
        counters.iter_mut().zip(grown).for_each(|(counter, grown)| *counter += grown);
        if !gap.contains(&at) {
            all.push(Told { at, run, lag: (1_400_000.0 * wave(at * 2)) as i64, counters });
        }
        at += step;
    }
    all
}

/// Writes the past of each of these pipelines and agents.
pub(crate) async fn write(house: &House, ids: &[String]) {
    let pool = house.database().await;
    let now = house.clock.now().0;
    for id in ids {
        let mut transaction = pool.begin().await.expect("the database answers");
        // What was reported while the screens were prepared does not fit.
        let sql = "DELETE FROM samples WHERE series = $1";
        sqlx::query(sql).bind(series(id)).execute(&mut *transaction).await.expect("the database answers");
        for one in told(now - 25 * 3_600 * SECOND, now - SECOND, 30 * SECOND) {
            let sql = format!(
                "INSERT INTO samples (series, at, run, lag_us, retained, memory, {COUNTERS}) \
                 VALUES ($1, $2, $3, $4, 48000000, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
            );
            let memory = 92_000_000 + (18_000_000.0 * wave(one.at)) as i64;
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(series(id)).bind(one.at).bind(one.run);
            query = query.bind(one.lag).bind(memory);
            for counter in one.counters {
                query = query.bind(counter);
            }
            query.execute(&mut *transaction).await.expect("a sample is written");
        }
        let closed = (now - 25 * 3_600 * SECOND) / QUARTER * QUARTER;
        for one in told(closed - 29 * 86_400 * SECOND, closed - QUARTER, QUARTER) {
            let sql = format!(
                "INSERT INTO sample_quarters (series, slot, at, run, lag_us, lag_sum, lags, retained, memory, {COUNTERS}) \
                 VALUES ($1, $2, $3, $4, $5, $5, 1, 48000000, 96000000, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
            );
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(series(id)).bind(one.at / QUARTER * QUARTER);
            query = query.bind(one.at).bind(one.run).bind(one.lag);
            for counter in one.counters {
                query = query.bind(counter);
            }
            query.execute(&mut *transaction).await.expect("a quarter is written");
        }
        transaction.commit().await.expect("the database answers");
    }
    pool.close().await;
}
