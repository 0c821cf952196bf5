//! A copy of a hub that runs, a hub from that copy, and what a doctor finds.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use millrace_hub::{Hub, Settings, account_link, back_up, doctor};
use millrace_model::{Fault, Finding, Severity};

use crate::house::{House, Kind};

fn found<'a>(findings: &'a [Finding], code: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.code == code);
    assert!(found.is_some(), "no {code} in {findings:#?}");
    found.unwrap()
}

/// A folder with the copy of a house in it, and the house's key.
async fn copied(house: &House, folder: &Path) -> Settings {
    let copy = folder.join("copy.sqlite");
    let made = back_up(&house.settings, Some(&copy)).await.unwrap();
    assert_eq!(made.bytes, Some(std::fs::metadata(&copy).unwrap().len()));
    assert!(made.not_in_it.iter().any(|part| part.contains("hub.key")), "{made:?}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let restored = folder.join("restored");
    std::fs::create_dir(&restored).unwrap();
    std::fs::copy(&copy, restored.join("hub.sqlite")).unwrap();
    std::fs::copy(house.settings.key_file(), restored.join("hub.key")).unwrap();
    Settings::new("127.0.0.1:0", restored)
}

#[tokio::test]
async fn a_hub_from_a_copy_knows_what_the_hub_knew_that_ran_meanwhile() {
    let house = House::open(Kind::Sqlite).await;
    let (before, token) = house.agent("before").await;
    house.hello(&token).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = copied(&house, folder.path()).await;
    house.new_agent("after").await;
    let hub = Hub::open(settings.clone(), house.clock.clone()).await.unwrap();
    let url = format!("http://{}", hub.address().unwrap());
    tokio::spawn(hub.serve(std::future::pending()));
    // The token of the old hub is good at the new one: the key opens what is in the copy.
    let listed = house.http.get(format!("{url}/v1/agents")).bearer_auth(house.token()).send().await.unwrap();
    let listed: serde_json::Value = listed.json().await.unwrap();
    assert_eq!((&listed["total"], &listed["results"][0]["agentId"]), (&1.into(), &before.into()));
    // Never over a file that is there.
    let again = back_up(&house.settings, Some(&folder.path().join("copy.sqlite"))).await.unwrap_err();
    assert_eq!(Fault::from(again).exit_code(), 78);
}

#[tokio::test]
async fn a_copy_may_have_any_name_and_what_is_no_copy_is_not_left_behind() {
    let house = House::open(Kind::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["a?b", "a#b", "50% off"] {
        let made = back_up(&house.settings, Some(&folder.path().join(name))).await.unwrap();
        assert!(made.bytes.unwrap() > 0, "{name}");
    }
    let nowhere = Fault::from(back_up(&house.settings, Some(Path::new("/nope/x"))).await.unwrap_err());
    assert!(nowhere.message.contains("--to") && nowhere.cure.contains("folder that is there"), "{nowhere:?}");
    let missing = Fault::from(back_up(&house.settings, None).await.unwrap_err());
    assert_eq!((missing.code, missing.message.as_str()), ("HB-001", "--to is not given"));
    std::fs::remove_file(house.settings.key_file()).unwrap();
    let whole = folder.path().join("whole");
    assert!(back_up(&house.settings, Some(&whole)).await.is_err());
    assert!(!whole.exists());
}

#[tokio::test]
async fn a_copy_without_its_key_is_no_backup() {
    let house = House::open(Kind::Sqlite).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = copied(&house, folder.path()).await;
    std::fs::remove_file(settings.key_file()).unwrap();
    let refused = Hub::open(settings.clone(), house.clock.clone()).await.err().unwrap();
    assert_eq!((refused.code, refused.exit_code()), ("HB-009", 78));
    assert!(!settings.key_file().exists(), "no new key is made beside secrets of another");
    std::fs::write(settings.key_file(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    let refused = Hub::open(settings.clone(), house.clock.clone()).await.err().unwrap();
    assert_eq!(refused.code, "HB-009");
    let findings = doctor(&settings, &*house.clock).await;
    assert_eq!(found(&findings, "HB-009").severity, Severity::Error);
    assert!(back_up(&settings, Some(&folder.path().join("second.sqlite"))).await.is_err());
}

#[tokio::test]
async fn one_hub_at_a_time_serves_from_a_folder_that_is_its_own() {
    let house = House::open(Kind::Sqlite).await;
    let folder = house.settings.data.clone();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in ["hub.sqlite", "hub.sqlite-wal", "hub.sqlite-shm", "hub.key", "hub.lock"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    let refused = Hub::open(house.settings.clone(), house.clock.clone()).await.err().unwrap();
    assert_eq!((refused.code, refused.exit_code()), ("HB-018", 75));
    let holder = format!("process {}", std::process::id());
    assert!(refused.message.contains(&holder) && refused.cure.contains("--data"), "{refused:?}");
    // What is done to a hub from beside it goes on.
    assert!(account_link(house.settings.clone(), house.clock.clone()).await.unwrap().contains("/join/"));
    let (settings, clock) = (house.settings.clone(), house.clock.clone());
    let kept = house.end();
    // The first is still on its way out: the next waits for it.
    Hub::open(settings, clock).await.unwrap();
    drop(kept);
}

#[tokio::test]
async fn a_server_has_its_own_tools_and_is_told_which() {
    let house = House::open(Kind::Postgres).await;
    let made = back_up(&house.settings, None).await.unwrap();
    assert!(made.run.unwrap().starts_with("pg_dump ") && made.file.is_none());
    assert!(made.restore.iter().any(|step| step.starts_with("pg_restore ")));
}

#[tokio::test]
async fn a_doctor_finds_nothing_wrong_with_a_hub_that_is_well_and_names_what_is() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let house = House::open(kind).await;
        let mut settings = house.settings.clone();
        settings.public_url = house.url.clone();
        let findings = doctor(&settings, &*house.clock).await;
        assert!(findings.iter().all(|finding| finding.severity == Severity::Info), "{findings:#?}");
        for code in ["HB-002", "HB-003", "HB-009", "HB-011", "HB-012", "HB-013", "HB-014", "HB-016"] {
            found(&findings, code);
        }
        // Nobody answers there; others can read the key; the clock went back.
        settings.public_url = "http://127.0.0.1:1".into();
        let key = settings.key_file();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let findings = doctor(&settings, &Past).await;
        for (code, severity) in [("HB-014", Severity::Error), ("HB-012", Severity::Warning)] {
            let finding = found(&findings, code);
            assert!(finding.severity == severity && !finding.cure.is_empty(), "{finding:?}");
        }
        assert_ne!(found(&findings, "HB-013").severity, Severity::Info);
    }
}

/// A clock that stands still, long ago.
struct Past;

impl millrace_model::Clock for Past {
    fn now(&self) -> millrace_model::Timestamp {
        millrace_model::Timestamp(1_000_000_000)
    }
}

#[tokio::test]
async fn a_plan_makes_nothing_and_a_doctor_of_an_empty_folder_says_that_nothing_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new("127.0.0.1:0", folder.path());
    let plan = millrace_hub::plan(&settings.place()).await.unwrap();
    assert!(plan.version == 0 && !plan.pending.is_empty());
    let findings = doctor(&settings, &Past).await;
    assert_eq!(found(&findings, "HB-003").severity, Severity::Info);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
