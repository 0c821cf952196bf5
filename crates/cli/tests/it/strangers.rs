//! What somebody gets wrong in the first hour, against a real server: each time the exit code, what happened, and what to
//! do about it, for people and for programs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;
use std::thread;

use millrace_testkit::pipeline::Draft;
use millrace_testkit::postgres::{Auth, Settings};
use millrace_testkit::process::{Line, Millrace};
use millrace_testkit::workload;

use crate::shop::{MILLRACE, PATIENCE, Shop, wait};

/// A run that must be refused.
struct Refusal {
    exit: i32,
    /// Of the error's page.
    code: &'static str,
    says: &'static str,
    cure: &'static str,
}

impl Refusal {
    /// Runs the shop's pipeline in both formats.
    fn expect(&self, shop: &Shop) {
        let run = |format: &str| {
            let mut command = Command::new(MILLRACE);
            command.args(["--format", format, "run"]).arg(&shop.pipeline.file).env("SHOP_PASSWORD", "wrong");
            let output = command.output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (exit, text) = run("json");
        assert_eq!(exit, Some(self.exit), "{text}");
        let lines: Vec<Line> = text.lines().map(Line::parse).collect();
        let is_it = |line: &&Line| line.code == self.code || line.fields.get("fault").is_some_and(|it| it == self.code);
        assert!(lines.iter().any(|line| is_it(&line)), "{} in {text}", self.code);
        let line = lines.iter().find(is_it).unwrap();
        assert!(line.message.contains(self.says), "{line:?}");
        assert!(line.fields["cure"].as_str().unwrap().contains(self.cure), "{line:?}");
        let (exit, text) = run("human");
        assert_eq!(exit, Some(self.exit), "{text}");
        for part in [self.code, self.says, self.cure, "cure: "] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains("{\""), "{text}");
        assert!(!shop.pipeline.lake.join("_millrace/commits").exists());
    }
}

#[test]
fn a_database_that_is_not_there_is_named() {
    let shop = Shop::open();
    let file = &shop.pipeline.file;
    let text = fs::read_to_string(file).unwrap().replace("database: shop", "database: shpo");
    fs::write(file, text).unwrap();
    Refusal { exit: 64, code: "PG-004", says: "there is no database shpo", cure: "connection.database" }.expect(&shop);
}

#[test]
fn a_wrong_and_a_missing_password_are_told_apart() {
    let asks = || Settings::default().auth(Auth::Scram("right".into()));
    let shop = Shop::with(asks(), &workload::TABLES, |draft| draft.password_from("SHOP_PASSWORD"));
    Refusal { exit: 77, code: "PG-003", says: "refused user postgres", cure: "connection.password" }.expect(&shop);
    let shop = Shop::with(asks(), &workload::TABLES, |draft| draft);
    Refusal { exit: 64, code: "PG-006", says: "asks user postgres for", cure: "give connection.password" }
        .expect(&shop);
}

#[test]
fn a_server_that_wants_encryption_is_told_from_one_that_refuses_the_role() {
    let shop = Shop::open();
    let data = shop.server.data();
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=shop"]);
    make.args(["-keyout", "server.key", "-out", "server.crt"]).current_dir(data);
    assert!(make.output().unwrap().status.success());
    let owner = fs::metadata(data).unwrap().uid();
    for file in ["server.key", "server.crt"] {
        chown(data.join(file), Some(owner), None).unwrap();
    }
    fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all 127.0.0.1/32 trust\n").unwrap();
    shop.server.sql("ALTER SYSTEM SET ssl = on").unwrap();
    shop.server.sql("SELECT pg_reload_conf()").unwrap();
    wait("the server to offer encryption", || shop.server.sql("SHOW ssl").unwrap() == "on");
    Refusal { exit: 77, code: "PG-006", says: "does not let user postgres in without encryption", cure: "no TLS" }
        .expect(&shop);
    fs::write(data.join("pg_hba.conf"), "local all all trust\nhost all all 127.0.0.1/32 trust\n").unwrap();
    let file = &shop.pipeline.file;
    let text = fs::read_to_string(file).unwrap().replace("username: postgres", "username: nobody");
    fs::write(file, text).unwrap();
    shop.server.sql("SELECT pg_reload_conf()").unwrap();
    let rules = "SELECT count(*) FROM pg_hba_file_rules WHERE type = 'hostssl'";
    wait("the new rules", || shop.server.sql(rules).unwrap() == "0");
    Refusal { exit: 77, code: "PG-003", says: "refused user nobody", cure: "connection.username" }.expect(&shop);
}

#[test]
fn a_pooler_in_front_of_the_server_is_named_and_not_asked_again() {
    // What PgBouncer answers to a first message with `options`, and without the database in its list.
    for says in ["unsupported startup parameter: options", "no such database: shop"] {
        let shop = Shop::open();
        let pooler = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = pooler.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in pooler.incoming() {
                let mut client = client.unwrap();
                let mut first = [0; 8];
                client.read_exact(&mut first).unwrap();
                let body = format!("SFATAL\0VFATAL\0C08P01\0M{says}\0\0");
                let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
                client.write_all(&[b"E", length.as_slice(), body.as_bytes()].concat()).unwrap();
            }
        });
        let file = &shop.pipeline.file;
        let here = format!("port: {}", shop.server.port());
        let text = fs::read_to_string(file).unwrap().replace(&here, &format!("port: {port}"));
        fs::write(file, text).unwrap();
        Refusal { exit: 64, code: "PG-006", says, cure: "not to a pooler" }.expect(&shop);
    }
}

#[test]
fn a_server_without_logical_log_is_told_how_to_have_one() {
    let shop = Shop::with(Settings::default().set("wal_level", "replica"), &workload::TABLES, |draft| draft);
    let cure = "ALTER SYSTEM SET wal_level = logical";
    Refusal { exit: 1, code: "PG-007", says: "wal_level is replica", cure }.expect(&shop);
}

#[test]
fn a_table_without_a_key_is_named_with_both_ways_out() {
    let shop = Shop::with(Settings::default(), &["orders", "heap"], |draft| draft);
    shop.database.sql("CREATE TABLE heap (a int)").unwrap();
    Refusal { exit: 64, code: "PG-017", says: "heap", cure: "add a primary key, or ALTER TABLE" }.expect(&shop);
}

#[test]
fn a_table_that_is_not_there_is_named() {
    let shop = Shop::with(Settings::default(), &["orders", "oders"], |draft| draft);
    Refusal { exit: 64, code: "PG-016", says: "oders", cure: "did you mean {schema: public, table: orders}?" }
        .expect(&shop);
}

#[test]
fn a_folder_for_large_transactions_that_is_not_there_is_named_before_one_comes() {
    let shop =
        Shop::with(Settings::default(), &["orders"], |draft| draft.property("spill.directory", "/nonexistent/x"));
    Refusal { exit: 64, code: "EN-017", says: "/nonexistent/x: No such file", cure: "spill.directory" }.expect(&shop);
    let check = shop.command("check", &[]).complete(PATIENCE).unwrap();
    assert_eq!(check.code, Some(1), "{}", check.stdout);
    assert!(check.stdout.contains("EN-017"), "{}", check.stdout);
}

#[test]
fn a_role_that_may_not_read_the_log_is_told_what_it_lacks() {
    let shop = Shop::open();
    shop.database.sql("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader").unwrap();
    let file = &shop.pipeline.file;
    let text = fs::read_to_string(file).unwrap().replace("username: postgres", "username: reader");
    fs::write(file, text).unwrap();
    Refusal { exit: 77, code: "PG-009", says: "reader", cure: "ALTER ROLE \"reader\" REPLICATION" }.expect(&shop);
}

#[test]
fn a_role_that_may_not_read_the_rows_is_told_before_a_slot_is_made() {
    let shop = Shop::with(Settings::default(), &["orders"], |draft| draft.property("publication.mode", "use"));
    let role = "CREATE ROLE reader LOGIN REPLICATION";
    shop.database.sql(&format!("{role}; CREATE PUBLICATION millrace_shop FOR TABLE orders")).unwrap();
    let file = &shop.pipeline.file;
    let text = fs::read_to_string(file).unwrap().replace("username: postgres", "username: reader");
    fs::write(file, text).unwrap();
    let cure = "GRANT SELECT ON \"public\".\"orders\" TO \"reader\"";
    Refusal { exit: 77, code: "PG-005", says: "may not SELECT", cure }.expect(&shop);
    assert_eq!(shop.database.sql("SELECT count(*) FROM pg_replication_slots").unwrap(), "0");
}

#[test]
fn a_second_run_of_a_pipeline_waits_and_then_leaves_with_75() {
    let shop = Shop::with(Settings::default().set("wal_sender_timeout", "1s"), &workload::TABLES, |draft| draft);
    let running = shop.streaming();
    let second = shop.command("run", &[]).allow("fault").complete(PATIENCE).unwrap();
    assert_eq!(second.code, Some(75), "{:#?}", second.lines);
    let fault = second.lines.iter().find(|line| line.code == "fault").unwrap();
    assert_eq!(fault.fields["fault"], "EN-009");
    assert!(fault.fields["cure"].as_str().unwrap().contains("stop the other process"), "{fault:?}");
    shop.database.sql("INSERT INTO visits VALUES (1, 'undisturbed', 1, now())").unwrap();
    shop.wait_until_released();
    running.stop(PATIENCE).unwrap();
    shop.fsck();
    shop.compare();
}

#[test]
fn a_first_start_that_is_stopped_or_killed_while_it_waits_for_a_transaction_is_in_nobodys_way() {
    let shop = Shop::open();
    let mut open = shop.database.session().unwrap();
    open.run("BEGIN; INSERT INTO visits VALUES (1, 'long', 1, now())").unwrap();
    let waiting = |running: &mut Millrace| running.wait_for("PG-026", PATIENCE).unwrap();
    let slots = || shop.database.sql("SELECT count(*) FROM pg_replication_slots").unwrap();
    let mut first = shop.command("run", &[]).allow("PG-026").start().unwrap();
    waiting(&mut first);
    assert_eq!(slots(), "1");
    first.stop(PATIENCE).unwrap();
    wait("the slot to go with the process that wanted it", || slots() == "0");
    // Killed: the server does not notice, and goes on making the slot for nobody.
    let mut second = shop.command("run", &[]).allow("PG-026").start().unwrap();
    waiting(&mut second);
    second.kill().unwrap();
    let check = shop.command("check", &[]).json(PATIENCE).unwrap();
    assert_eq!((check["ok"].as_bool(), check["findings"][0]["code"].as_str()), (Some(true), Some("PG-026")), "{check}");
    let cleanup = shop.command("cleanup", &["--yes"]).allow("PG-026").complete(PATIENCE).unwrap();
    assert_eq!(cleanup.lines[0].code, "PG-026", "{:?}", cleanup.lines);
    let mut third = shop.command("run", &[]).allow("PG-026").start().unwrap();
    let line = third.wait_until("what is in the way", PATIENCE, |line| line.code == "retrying").unwrap();
    assert_eq!((&line.fields["fault"], &line.fields["stage"]), (&"PG-026".into(), &"take".into()), "{line:?}");
    assert!(line.message.contains("waits for running transactions: process "), "{line:?}");
    open.run("COMMIT").unwrap();
    third.wait_for("streaming", PATIENCE).unwrap();
    shop.wait_until_released();
    third.stop(PATIENCE).unwrap();
    shop.catch_up();
    shop.fsck();
    shop.compare();
}

#[test]
fn a_server_that_is_not_there_is_waited_for() {
    let mut shop = Shop::open();
    shop.server.stop().unwrap();
    let mut running = shop.run();
    let line = running
        .wait_for_lines("a second attempt", PATIENCE, |lines| {
            lines.iter().filter(|line| line.code == "retrying").nth(1).cloned()
        })
        .unwrap();
    assert!(line.message.contains(&format!("127.0.0.1:{}", shop.server.port())), "{line:?}");
    shop.server.launch().unwrap();
    running.wait_for("streaming", PATIENCE).unwrap();
    // And once more in the middle of it.
    shop.server.crash().unwrap();
    shop.database.sql("INSERT INTO visits VALUES (1, 'after the crash', 1, now())").unwrap();
    wait("the stream to come back", || shop.slot_is_active());
    shop.wait_until_released();
    let ended = running.stop(PATIENCE).unwrap();
    let retries: Vec<_> =
        ended.lines.iter().filter(|line| line.code == "retrying" && line.fields.contains_key("fault")).collect();
    assert!(retries.iter().any(|line| line.fields["stage"] == "stream"), "{retries:?}");
    let is_told = |line: &&Line| line.fields["cure"].as_str().is_some_and(|cure| !cure.is_empty());
    assert!(retries.iter().all(is_told), "{retries:?}");
    shop.fsck();
    shop.compare();
}

#[test]
fn a_mistyped_key_is_named_with_its_line_and_the_word_that_was_meant() {
    let shop = Shop::open();
    let file = &shop.pipeline.file;
    let text = fs::read_to_string(file).unwrap().replace("tables:", "tabels:");
    fs::write(file, text).unwrap();
    let output = Command::new(MILLRACE).args(["--format", "human", "run"]).arg(file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{text}");
    for part in ["streamingSource.tabels", "line 11", "did you mean `tables`?"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let fine = Draft::new("shop", &shop.database, &["orders"]).write(shop.folder()).unwrap();
    let check = crate::shop::millrace("check", &fine, &[]).json(PATIENCE).unwrap();
    assert_eq!(check["ok"], true, "{check}");
}

/// The blocks of a kind of the quick start, as they stand there.
fn quick_start(kind: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/quick-start.md")).unwrap();
    let fence = format!("```{kind}\n");
    let blocks = page.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_quick_start_leaves_the_application_its_tables_in_both_ways() {
    let (sql, yaml) = (quick_start("sql"), quick_start("yaml"));
    let [line, pipeline] = yaml.as_slice() else { panic!("{yaml:?}") };
    let (head, _) = pipeline.split_once("advancedProperties").unwrap();
    for (statements, text) in [(&sql[1], pipeline.clone()), (&sql[2], format!("{head}{line}"))] {
        assert!(statements.starts_with("CREATE ROLE millrace"), "{statements}");
        let asks = Settings::default().auth(Auth::Scram("of the superuser".into()));
        let shop = Shop::with(asks, &["orders", "customers"], |draft| draft);
        let owner = workload::TABLES.map(|table| format!("ALTER TABLE {table} OWNER TO app"));
        shop.database.sql(&format!("CREATE ROLE app LOGIN; {}", owner.join("; "))).unwrap();
        shop.database.sql(statements).unwrap();
        fs::write(&shop.pipeline.file, text.replace("5432", &shop.server.port().to_string())).unwrap();
        let check = shop.command("check", &[]).env("SHOP_PASSWORD", "choose-one").json(PATIENCE).unwrap();
        assert_eq!((&check["ok"], check["findings"].as_array().map(Vec::len)), (&true.into(), Some(0)), "{check}");
        let as_app = |id: u8| {
            let values = format!("{id}, 'of the application', now(), gen_random_uuid()");
            let row = format!("INSERT INTO customers (id, name, created_at, token) VALUES ({values})");
            shop.database.sql(&format!("SET ROLE app; {row}")).unwrap();
        };
        as_app(1);
        for id in [2, 3] {
            let run = shop.command("run", &["--until", "now"]).env("SHOP_PASSWORD", "choose-one");
            let ended = run.complete(PATIENCE).unwrap();
            assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
            shop.compare();
            as_app(id);
        }
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'app'";
        assert_eq!(shop.database.sql(tables).unwrap(), "0");
    }
}
