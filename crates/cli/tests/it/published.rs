//! The SQL that the docs publish, run as it stands there.

use std::path::Path;

use millrace_testkit::lake;
use millrace_testkit::postgres::Settings;

use crate::shop::{PATIENCE, Shop};

/// A shop with the tables that the pages speak of: one with a key, an infinite one among them, and large values that
/// updates leave alone, and one without a key and with equal rows. `orders` has these columns, too.
fn shop(more: &str) -> Shop {
    let shop = Shop::with(Settings::default(), &["orders", "visits"], |draft| draft);
    shop.database
        .sql(&format!(
            "DROP TABLE IF EXISTS orders, visits CASCADE;
             CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(10,2), notes text{more});
             ALTER TABLE orders ALTER notes SET STORAGE EXTERNAL;
             CREATE TABLE visits (page text, seconds integer);
             ALTER TABLE visits REPLICA IDENTITY FULL;
             INSERT INTO orders SELECT n, n, repeat(n::text, 3000) FROM generate_series(1, 20) n;
             INSERT INTO visits SELECT 'page ' || n % 3, n % 2 FROM generate_series(1, 12) n"
        ))
        .unwrap();
    shop.catch_up();
    for change in [
        "UPDATE orders SET amount = amount + 1 WHERE id < 9",
        "UPDATE orders SET id = id + 100 WHERE id BETWEEN 4 AND 6",
        "UPDATE orders SET notes = NULL WHERE id = 7; DELETE FROM orders WHERE id > 17 AND id < 100",
        "DELETE FROM visits WHERE ctid IN (SELECT ctid FROM visits WHERE page = 'page 1' LIMIT 2)",
        "UPDATE visits SET seconds = 9 WHERE page = 'page 2'; INSERT INTO visits VALUES (NULL, NULL), (NULL, NULL)",
    ] {
        shop.database.sql(change).unwrap();
    }
    shop.catch_up();
    shop
}

/// What a page shows below a heading, query by query.
fn shown(shop: &Shop, page: &str, heading: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    lake::published(&page, heading, &shop.pipeline.lake).unwrap()
}

/// Rows of the source in the same form.
fn source(shop: &Shop, columns: &[&str], table: &str) -> serde_json::Value {
    let values = columns.iter().map(|column| format!("({column})::text")).collect::<Vec<_>>().join(", ");
    let rows = format!("SELECT coalesce(json_agg(json_build_array({values})), '[]') FROM {table}");
    sorted(&shop.database.sql(&rows).unwrap())
}

fn sorted(rows: &str) -> serde_json::Value {
    let mut rows: Vec<Vec<Option<String>>> = serde_json::from_str(rows).unwrap();
    rows.sort();
    serde_json::to_value(rows).unwrap()
}

#[test]
fn the_published_queries_give_the_sources_rows() {
    let shop = shop("");
    let queries = shown(&shop, "specs/file-lake.md", "## Reading with DuckDB");
    let [newest, filled, counted] = queries.as_slice() else { panic!("{} queries", queries.len()) };
    // It shows null where the last update left the large value alone.
    let unknown = "CASE WHEN id < 9 AND id <> 7 OR id > 100 THEN NULL ELSE notes END";
    assert_eq!(sorted(newest), source(&shop, &["id", "amount", unknown], "orders"));
    assert_eq!(sorted(filled), source(&shop, &["id", "amount", "notes"], "orders"));
    assert_eq!(sorted(counted), source(&shop, &["page", "seconds"], "visits"));
    let started = shown(&shop, "quick-start.md", "## 5. Query the lake");
    assert_eq!(started.iter().map(|rows| sorted(rows)).collect::<Vec<_>>(), [sorted(newest)]);
}

#[test]
fn columns_that_differ_from_ours_in_case_only_do_not_mislead_the_published_queries() {
    let shop = shop(", \"_OP\" text DEFAULT 'd', \"_Sequence\" bigint DEFAULT 0, \"_SNAPSHOT\" text DEFAULT 'x'");
    let queries = shown(&shop, "specs/file-lake.md", "## Reading with DuckDB");
    assert_eq!(sorted(&queries[1]), source(&shop, &["id", "amount", "notes"], "orders"));
    let started = shown(&shop, "quick-start.md", "## 5. Query the lake");
    let amounts = |rows: &str| {
        let rows: Vec<Vec<Option<String>>> = serde_json::from_str(rows).unwrap();
        serde_json::to_string(&rows.into_iter().map(|row| row[..2].to_vec()).collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(sorted(&amounts(&started[0])), source(&shop, &["id", "amount"], "orders"));
    let state = shop.command("read", &["--table", "public.orders", "--state"]).complete(PATIENCE).unwrap();
    let first: serde_json::Value = serde_json::from_str(state.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["_OP"], &first["_Sequence"]), (&"d".into(), &0.into()), "as the source has them: {first}");
    shop.fsck();
}
