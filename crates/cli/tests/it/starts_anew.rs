//! Tables whose key changes, and one without a key whose rows get other values without a word in the log, at a real server:
//! they start anew, while the pipeline runs and while it does not, and the lake is the source's.

use millrace_testkit::postgres::Settings;
use millrace_testkit::process::Line;

use crate::shop::{PATIENCE, Shop};

/// What is done to a table of this name: how it is made, and how it is altered. Each has the columns `id`, `code`, `n`.
const ALTERS: [(&str, &str, &str); 7] = [
    ("other_primary", "PRIMARY KEY (id)", "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (code)"),
    ("wider_primary", "PRIMARY KEY (id)", "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, code)"),
    (
        "by_index",
        "PRIMARY KEY (id), CONSTRAINT t_code UNIQUE (code)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX t_code",
    ),
    ("lost", "PRIMARY KEY (id)", "ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE t DROP CONSTRAINT t_pkey"),
    ("full_other", "PRIMARY KEY (id)", "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (code)"),
    ("given", "CHECK (n IS NOT NULL)", "ALTER TABLE t ADD PRIMARY KEY (code)"),
    ("filled", "CHECK (n IS NOT NULL)", "ALTER TABLE t ADD extra int DEFAULT 7"),
];

fn tables() -> Vec<&'static str> {
    ALTERS.iter().map(|(table, ..)| *table).collect()
}

/// A server that hands over transactions of more than 64 kB while they are in progress, if they are as large.
fn open() -> Shop {
    let shop = Shop::with(Settings::default().set("logical_decoding_work_mem", "64kB"), &tables(), |draft| draft);
    for (table, made, _) in ALTERS {
        let made = made.replace("t_", &format!("{table}_"));
        shop.database
            .sql(&format!("CREATE TABLE {table} (id int NOT NULL, code text NOT NULL, n int NOT NULL, {made})"))
            .unwrap();
        if ["full_other", "given", "filled"].contains(&table) {
            shop.database.sql(&format!("ALTER TABLE {table} REPLICA IDENTITY FULL")).unwrap();
        }
        shop.database.sql(&format!("INSERT INTO {table} SELECT n, 'c' || n, n FROM generate_series(1, 20) n")).unwrap();
    }
    shop
}

/// Rows move in a way that only the right key follows: both `id` and `code` take other values.
fn moves(table: &str) -> String {
    format!(
        "UPDATE {table} SET id = id + 1000000 WHERE n % 4 = 0; UPDATE {table} SET code = code || 'x' WHERE n % 4 = 1;
         DELETE FROM {table} WHERE n % 7 = 2; UPDATE {table} SET n = n + 100 WHERE n % 5 = 3;"
    )
}

/// Alters every table in a transaction of its own with changes in flight, `rows` of them before and behind.
fn alter(shop: &Shop, first: u32, rows: u32) {
    for (table, _, altered) in ALTERS {
        let altered = altered.replace("t_", &format!("{table}_")).replace("TABLE t ", &format!("TABLE {table} "));
        let many = |from: u32| {
            format!(
                "INSERT INTO {table} (id, code, n) SELECT n, 'c' || n, n FROM generate_series({from}, {}) n;",
                from + rows
            )
        };
        let (old, new) = (many(first), many(first + 2 * rows));
        let moves = moves(table);
        shop.database.sql(&format!("BEGIN; {old} {moves} {altered}; {moves} {new} {moves} COMMIT")).unwrap();
        shop.database.sql(&format!("BEGIN; {moves} COMMIT")).unwrap();
    }
}

fn assert_equal(shop: &Shop) {
    let ended = shop.command("run", &["--until", "now"]).complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
    shop.fsck();
    shop.compare();
    shop.compare_independently();
}

#[test]
fn tables_whose_key_changes_while_the_pipeline_is_stopped_start_anew() {
    for rows in [3, 2_000] {
        let shop = open();
        shop.catch_up();
        alter(&shop, 100, rows);
        let ended =
            shop.command("run", &["--until", "now"]).allow("EN-023").allow("PG-025").complete(PATIENCE).unwrap();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
        let anew = |table: &&str| {
            let name = format!("shop.public.{table}");
            ended.lines.iter().any(|line| line.code == "snapshot_finished" && line.fields["table"] == name)
        };
        assert_eq!(tables().iter().filter(|table| anew(table)).count(), ALTERS.len(), "{:#?}", ended.lines);
        shop.fsck();
        shop.compare();
        // From then on by the new key.
        for (table, ..) in ALTERS {
            shop.database.sql(&moves(table)).unwrap();
        }
        assert_equal(&shop);
    }
}

#[test]
fn tables_whose_key_changes_while_the_pipeline_runs_start_anew() {
    for rows in [3, 2_000] {
        let shop = open();
        shop.catch_up();
        let mut running = shop.command("run", &[]).allow("EN-023").allow("PG-025").start().unwrap();
        running.wait_for("streaming", PATIENCE).unwrap();
        alter(&shop, 100, rows);
        let all = |lines: &[Line]| {
            let finished = |table: &&str| {
                let name = format!("shop.public.{table}");
                lines.iter().any(|line| line.code == "snapshot_finished" && line.fields["table"] == name)
            };
            tables().iter().all(finished).then_some(())
        };
        running.wait_for_lines("every table to be read anew", PATIENCE, all).unwrap();
        for (table, ..) in ALTERS {
            shop.database.sql(&moves(table)).unwrap();
        }
        running.stop(PATIENCE).unwrap();
        assert_equal(&shop);
    }
}

#[test]
fn a_key_that_changes_without_a_change_of_a_row_is_seen_at_the_next_look_at_the_tables() {
    let shop = open();
    shop.catch_up();
    let mut running = shop.command("run", &[]).allow("EN-023").start().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    shop.database.sql("ALTER TABLE other_primary DROP CONSTRAINT other_primary_pkey, ADD PRIMARY KEY (code)").unwrap();
    let anew = |line: &Line| line.code == "snapshot_finished" && line.fields["table"] == "shop.public.other_primary";
    running.wait_until("the table to be read anew", PATIENCE, anew).unwrap();
    shop.database.sql(&moves("other_primary")).unwrap();
    running.stop(PATIENCE).unwrap();
    assert_equal(&shop);
}

#[test]
fn a_key_column_that_is_renamed_is_the_same_key_and_nothing_is_read_anew() {
    let shop = open();
    shop.catch_up();
    shop.database.sql("ALTER TABLE other_primary RENAME id TO number; UPDATE other_primary SET n = n + 1").unwrap();
    let ended = shop.catch_up();
    assert!(!ended.lines.iter().any(|line| line.code == "snapshot_started"), "{:#?}", ended.lines);
    shop.fsck();
    shop.compare();
}
