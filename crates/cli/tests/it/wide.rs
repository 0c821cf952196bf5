//! Rows of hundreds of columns and next to nothing in them: small in the log, large in memory.

use millrace_testkit::postgres::Settings;

use crate::shop::{PATIENCE, Shop};

/// `memory.limit`.
const LIMIT: u64 = 100 << 20;

/// A table of so many numbers beside its key, and what writes to it.
struct Wide {
    columns: u32,
    before: &'static str,
    change: &'static str,
}

const WIDE: [Wide; 2] = [
    Wide { columns: 400, before: "", change: "INSERT INTO wide (id) SELECT generate_series(1, 40000)" },
    Wide {
        columns: 100,
        before: "INSERT INTO wide (id) SELECT generate_series(1, 250000)",
        change: "DELETE FROM wide",
    },
];

#[test]
fn rows_of_mostly_nulls_stay_within_the_limit_of_memory() {
    for streaming in ["true", "false"] {
        for wide in &WIDE {
            let limit = format!("{}MiB", LIMIT >> 20);
            let shop = Shop::with(Settings::default(), &["wide"], |draft| {
                draft
                    .property("memory.limit", &limit)
                    .property("snapshot.mode", "never")
                    .property("pgoutput.streaming", streaming)
                    // Nothing but memory asks for a commit.
                    .property("commit.interval", "1h")
            });
            let columns: String = (1..=wide.columns).map(|number| format!(", c{number} numeric(12,2)")).collect();
            let made = format!("CREATE TABLE wide (id bigint PRIMARY KEY{columns}); {}", wide.before);
            shop.database.sql(&made).unwrap();
            shop.catch_up();
            shop.database.sql(wide.change).unwrap();
            let ended = shop.command("run", &["--until", "now"]).complete(PATIENCE).unwrap();
            assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
            let (peak, change) = (ended.peak_memory.get(), wide.change);
            assert!(peak <= LIMIT, "{change}, streaming {streaming}: {} MiB", peak >> 20);
            shop.fsck();
        }
    }
}
