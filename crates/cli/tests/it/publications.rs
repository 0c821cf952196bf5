//! What befalls the publication, and the partitions behind it, while a pipeline runs.

use millrace_testkit::postgres::Settings;

use crate::shop::{PATIENCE, Shop};

#[test]
fn a_publication_that_is_narrowed_ends_a_run_with_66_and_a_restart_cures_it() {
    let shop = Shop::with(Settings::default(), &["visits", "b"], |draft| draft);
    shop.database.sql("CREATE TABLE b (id int PRIMARY KEY, v int); INSERT INTO b VALUES (1, 1), (2, 2)").unwrap();
    shop.catch_up();
    let mut running = shop.command("run", &[]).allow("fault").start().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    let publication = "ALTER PUBLICATION millrace_shop SET (publish =";
    shop.database.sql(&format!("{publication} 'insert'); DELETE FROM b WHERE id = 1; UPDATE b SET v = 3")).unwrap();
    let ended = running.wait(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(66), "{:#?}", ended.lines);
    let cures: Vec<&str> = ended.lines.iter().filter_map(|line| line.fields.get("cure")?.as_str()).collect();
    assert!(cures.iter().any(|cure| cure.contains("then millrace restart FILE --snapshot")), "{cures:?}");
    // As long as it is so no start gets further.
    let ended = shop.command("run", &[]).allow("fault").allow("PG-015").complete(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(66), "{:#?}", ended.lines);
    shop.database.sql(&format!("{publication} 'insert, update, delete, truncate')")).unwrap();
    let restarted = shop.command("restart", &["--snapshot", "--yes"]).json(PATIENCE).unwrap();
    assert_eq!(restarted["new_slot"], false);
    shop.catch_up();
    shop.fsck();
    shop.compare_independently();
}

#[test]
fn a_partition_that_does_not_fit_takes_its_table_out_of_a_running_pipeline() {
    let shop = Shop::with(Settings::default(), &["*"], |draft| draft);
    shop.database
        .sql(
            "CREATE TABLE parts (x int, v text) PARTITION BY LIST (x); CREATE TABLE parts1 PARTITION OF parts FOR VALUES IN (1); \
             ALTER TABLE parts REPLICA IDENTITY FULL; ALTER TABLE parts1 REPLICA IDENTITY FULL; INSERT INTO parts VALUES (1, 'one')",
        )
        .unwrap();
    // PG-025: a commit is in the log a moment before the catalogue shows the partition that it made.
    let mut running = shop.command("run", &[]).allow("PG-017").allow("PG-025").start().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    let read = |running: &mut millrace_testkit::process::Millrace, times: usize| {
        running
            .wait_for_lines("the snapshot of the partitioned table", PATIENCE, |lines| {
                let of_parts = lines
                    .iter()
                    .filter(|line| line.code == "snapshot_finished" && line.fields["table"] == "shop.public.parts");
                (of_parts.count() >= times).then_some(())
            })
            .unwrap();
    };
    read(&mut running, 1);
    shop.database
        .sql("CREATE TABLE parts2 PARTITION OF parts FOR VALUES IN (2); INSERT INTO parts VALUES (2, 'two')")
        .unwrap();
    let said = running
        .wait_until("why the table leaves", PATIENCE, |line| {
            line.code == "PG-017" && line.message.contains("joins again")
        })
        .unwrap();
    assert!(said.fields["cure"].as_str().unwrap().contains("parts2 REPLICA IDENTITY FULL"), "{said:?}");
    crate::shop::wait("the users' updates", || shop.database.sql("UPDATE parts SET v = 'new'").is_ok());
    shop.database.sql("ALTER TABLE parts2 REPLICA IDENTITY FULL").unwrap();
    read(&mut running, 2);
    shop.database.sql("UPDATE parts SET v = 'newer' WHERE x = 2; DELETE FROM parts WHERE x = 1").unwrap();
    running.stop(PATIENCE).unwrap();
    shop.catch_up();
    shop.fsck();
    let state = shop.command("read", &["--table", "public.parts", "--state"]).json(PATIENCE).unwrap();
    assert_eq!((&state["x"], &state["v"]), (&2.into(), &"newer".into()), "one row: {state}");
}
