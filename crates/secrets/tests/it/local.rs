//! Variables and files.

use millrace_model::SecretReference;
use millrace_model::SecretStore as _;
use millrace_secrets::Secrets;

fn reference(store: &str, name: &str, key: Option<&str>) -> SecretReference {
    SecretReference { store: store.into(), name: name.into(), key: key.map(Into::into) }
}

async fn read(secrets: &Secrets, reference: SecretReference) -> Result<String, (&'static str, u8)> {
    let read = secrets.read(&reference).await;
    read.map(|value| value.reveal().to_owned()).map_err(|fault| {
        assert!(!fault.cure.is_empty() && !fault.to_string().contains("s3cret"), "{fault}");
        (fault.code, fault.exit_code())
    })
}

#[tokio::test]
async fn a_file_loses_one_newline_at_its_end_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = Secrets::new(folder.path());
    for (bytes, value) in [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" s3\ncret\n\n", " s3\ncret\n")] {
        std::fs::write(folder.path().join("password"), bytes).unwrap();
        assert_eq!(read(&secrets, reference("file", "password", None)).await, Ok(value.to_owned()));
    }
    assert_eq!(read(&secrets, reference("file", "absent", None)).await, Err(("SE-004", 64)));
    std::fs::write(folder.path().join("password"), b"\xff").unwrap();
    assert_eq!(read(&secrets, reference("file", "password", None)).await, Err(("SE-003", 64)));
    std::fs::write(folder.path().join("password"), b"\n").unwrap();
    assert_eq!(read(&secrets, reference("file", "password", None)).await, Err(("SE-007", 64)));
}

#[tokio::test]
async fn a_key_picks_one_text_out_of_a_json_object() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = Secrets::new(folder.path());
    std::fs::write(folder.path().join("db.json"), r#"{"password":"s3cret","port":5432}"#).unwrap();
    assert_eq!(read(&secrets, reference("file", "db.json", Some("password"))).await, Ok("s3cret".into()));
    assert_eq!(read(&secrets, reference("file", "db.json", Some("port"))).await, Err(("SE-006", 64)));
    assert_eq!(read(&secrets, reference("file", "db.json", Some("user"))).await, Err(("SE-006", 64)));
    std::fs::write(folder.path().join("db.json"), "s3cret").unwrap();
    assert_eq!(read(&secrets, reference("file", "db.json", Some("password"))).await, Err(("SE-005", 64)));
}

#[tokio::test]
async fn a_variable_is_read_and_a_missing_one_is_named() {
    let secrets = Secrets::default();
    // Cargo sets this one for every test.
    assert_eq!(read(&secrets, reference("env", "CARGO_PKG_NAME", None)).await, Ok("millrace-secrets".into()));
    assert_eq!(read(&secrets, reference("env", "MILLRACE_NO_SUCH_VARIABLE", None)).await, Err(("SE-002", 64)));
    assert_eq!(read(&secrets, reference("env", "A=B", None)).await, Err(("SE-002", 64)));
}

#[tokio::test]
async fn a_store_that_nobody_knows_is_refused() {
    assert_eq!(read(&Secrets::default(), reference("drawer", "x", None)).await, Err(("SE-001", 64)));
}
