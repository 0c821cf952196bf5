//! The fixture itself: it starts, survives what tests do to it, and leaves nothing behind.

use std::path::PathBuf;
use std::time::Instant;

use super::*;

#[test]
fn a_server_starts_answers_and_leaves_nothing_behind() {
    let server = Server::start().unwrap();
    assert_eq!(server.sql("SELECT current_setting('wal_level')").unwrap(), "logical");
    assert_eq!(
        server.rows("SELECT 1, NULL, 'a|b' UNION ALL SELECT 2, 'x', E'two\\nlines' ORDER BY 1").unwrap(),
        [["1", "", "a|b"], ["2", "x", "two\nlines"]]
    );
    assert!(server.rows("SELECT 1 WHERE false").unwrap().is_empty());
    let (data, process) = (server.data().to_owned(), server.process.as_ref().unwrap().id());
    drop(server);
    assert!(!data.exists());
    assert!(!PathBuf::from(format!("/proc/{process}")).exists());
}

#[test]
fn a_second_server_starts_from_the_template_within_a_second_or_two() {
    let first = Server::start().unwrap();
    let began = Instant::now();
    let second = Server::start().unwrap();
    // Without the template `initdb` alone takes longer on an idle machine; the bound leaves room for a busy one.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_ne!(first.port(), second.port());
}

#[test]
fn rows_survive_a_restart_and_a_crash() {
    let mut server = Settings::default().durable().set("work_mem", "5MB").start().unwrap();
    let database = server.create_database("shop").unwrap();
    database.sql("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)").unwrap();
    let port = server.port();
    server.restart().unwrap();
    database.sql("INSERT INTO kept VALUES (2)").unwrap();
    server.crash().unwrap();
    assert!(server.log().contains("not properly shut down"), "{}", server.log());
    assert_eq!(database.sql("SELECT sum(id) FROM kept").unwrap(), "3");
    assert_eq!(database.sql("SHOW work_mem").unwrap(), "5MB");
    assert_eq!(server.port(), port);
}

#[test]
fn a_server_that_asks_for_a_password_refuses_without_it() {
    for auth in [Auth::Scram("it's secret".into()), Auth::Md5("it's secret".into())] {
        let server = Settings::default().auth(auth).start().unwrap();
        let over_tcp = |password: &str| {
            let mut psql = std::process::Command::new(server.programs().path("psql"));
            psql.args(["-X", "-w", "-At", "-h", server.host(), "-p", &server.port().to_string(), "-U", SUPERUSER]);
            spawn::read(psql.args(["-c", "SELECT 1", "postgres"]).env("PGPASSWORD", password))
        };
        assert!(over_tcp("wrong").is_err());
        assert_eq!(over_tcp(server.password().unwrap()).unwrap(), "1\n");
        assert_eq!(server.sql("SELECT 2").unwrap(), "2");
    }
}

#[test]
fn a_session_keeps_its_transaction_and_its_error_is_heard() {
    let server = Server::start().unwrap();
    let database = server.database("postgres");
    let mut session = database.session().unwrap();
    session.tell("CREATE TABLE seen (id int); BEGIN; INSERT INTO seen VALUES (1)").unwrap();
    assert_eq!(session.run("SELECT count(*) FROM seen").unwrap(), ["1"]);
    assert_eq!(database.sql("SELECT count(*) FROM seen").unwrap(), "0");
    session.run("COMMIT").unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM seen").unwrap(), "1");
    let fault = session.run("SELECT nonsense").unwrap_err().to_string();
    assert!(fault.contains("nonsense"), "{fault}");
}

#[test]
fn a_version_that_is_not_installed_is_named_with_the_line_that_installs_it() {
    let fault = Settings::default().major(7).start().unwrap_err().to_string();
    assert!(fault.contains("apt-get install -y postgresql-7"), "{fault}");
}
