//! The body of the REST API's pipeline: each type of the contract is accepted and kept as it came.

use millrace_protocol::Question;
use millrace_protocol::wire::{self, pipeline_body, unsupported};
use serde_json::{Value, json};

fn secret() -> Value {
    json!({"secretType": "aws_secrets_manager", "secretName": "shop/db", "key": "password"})
}

fn sources() -> Vec<Value> {
    let tables = json!([{"schema": "b", "table": "z"}, {"schema": "a", "table": "y"}]);
    let with_database = json!({"host": "Db.Example.COM", "port": 5432, "database": "Shop", "username": " me ",
        "password": secret(), "jdbcProperties": {"ssl": "require"}});
    let mut oracle = with_database.clone();
    oracle["pdb"] = json!("PDB1");
    let mut without_database = with_database.clone();
    without_database.as_object_mut().unwrap().remove("database");
    [
        ("postgres", with_database.clone()),
        ("sqlserver", with_database),
        ("mysql", without_database.clone()),
        ("db2ibmi", without_database),
        ("oracle", oracle),
    ]
    .map(|(kind, connection)| json!({"type": kind, "connection": connection, "tables": tables}))
    .into()
}

fn targets() -> Vec<Value> {
    let authentication = json!({"type": "key-pair", "privateKey": secret(), "passphrase": secret()});
    vec![
        json!({"type": "s3", "bucket": "b", "prefix": "", "decimalMapping": "legacy"}),
        json!({"type": "s3", "bucket": "b"}),
        json!({"type": "abs", "container": "c", "prefix": "/a//b/", "accountName": "n", "accountKey": secret()}),
        json!({"type": "abs", "container": "c", "accountName": "n", "decimalMapping": "logical"}),
        json!({"type": "gcs", "bucket": "b", "prefix": "p"}),
        json!({"type": "snowflake", "connection": {"accountName": "a", "username": "u",
            "authentication": authentication, "jdbcProperties": {}},
            "role": "R", "warehouse": "W", "database": "D", "stageSchema": "S", "stageName": "N", "stagePrefix": "",
            "tableSchema": "T", "tablePrefixType": "source_database_and_schema",
            "transformationType": "copy_table_soft_delete", "temporalMapping": "epoch"}),
        json!({"type": "local", "path": "/lake", "format": "json", "layout": "flat", "compression": "gzip"}),
    ]
}

fn pipeline(source: &Value, target: &Value) -> Value {
    json!({"name": "shop", "agentId": "a-1", "streamingSource": source, "streamingTarget": target,
        "advancedProperties": {}})
}

fn shop() -> Value {
    pipeline(&sources()[0], &targets()[0])
}

fn refused(sent: Value) -> Vec<String> {
    let problems = pipeline_body(sent, None).expect_err("it should have been refused").0;
    problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

#[test]
fn every_source_and_target_of_the_contract_is_kept_as_it_was_sent() {
    for source in sources() {
        for target in targets() {
            let sent = pipeline(&source, &target);
            let kept = pipeline_body(sent.clone(), None).unwrap_or_else(|problems| panic!("{problems:?}"));
            assert_eq!(Value::Object(kept), sent);
        }
    }
}

#[test]
fn words_are_taken_in_any_case_and_kept_in_lower_case_and_nothing_else_is_touched() {
    let mut sent = pipeline(&sources()[0], &targets()[5]);
    let written = [
        ("/streamingSource/type", "POSTGRES"),
        ("/streamingSource/connection/password/secretType", "AWS_Secrets_Manager"),
        ("/streamingTarget/type", "Snowflake"),
        ("/streamingTarget/connection/authentication/type", "KEY-PAIR"),
        ("/streamingTarget/connection/authentication/privateKey/secretType", "Azure_Key_Vault"),
        ("/streamingTarget/tablePrefixType", "NONE"),
        ("/streamingTarget/transformationType", "Change_Log"),
        ("/streamingTarget/temporalMapping", "NATIVE"),
    ];
    let mut expected = sent.clone();
    for (place, word) in written {
        *sent.pointer_mut(place).unwrap() = json!(word);
        *expected.pointer_mut(place).unwrap() = json!(word.to_lowercase());
    }
    assert_eq!(Value::Object(pipeline_body(sent, None).unwrap()), expected);
}

#[test]
fn a_whole_number_may_be_written_with_a_point() {
    let mut sent = shop();
    sent["streamingSource"]["connection"]["port"] = json!(5432.0);
    let kept = pipeline_body(sent.clone(), None).unwrap();
    assert_eq!(kept["streamingSource"]["connection"]["port"].to_string(), "5432");
    sent["streamingSource"]["connection"]["port"] = json!(5432.5);
    assert!(pipeline_body(sent, None).is_err());
}

#[test]
fn null_is_absent_wherever_it_stands() {
    let mut sent = shop();
    let expected = sent.clone();
    sent["streamingTarget"]["region"] = Value::Null;
    sent["streamingSource"]["connection"]["jdbcProperties"]["x"] = Value::Null;
    sent["streamingSource"]["connection"]["password"]["unknown"] = Value::Null;
    assert_eq!(Value::Object(pipeline_body(sent, None).unwrap()), expected);

    let mut sent = shop();
    sent["streamingSource"]["connection"]["host"] = Value::Null;
    sent["advancedProperties"] = Value::Null;
    assert_eq!(refused(sent), ["streamingSource.connection.host: is missing"]);
    let mut sent = shop();
    sent["streamingSource"]["connection"]["password"] = Value::Null;
    assert!(
        pipeline_body(sent, None).is_ok_and(|kept| kept["streamingSource"]["connection"].get("password").is_none())
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_path() {
    let mut sent = shop();
    sent["name"] = json!("n".repeat(256));
    sent["streamingSource"]["connection"]["port"] = json!("5432");
    sent["streamingSource"]["tables"] = json!([]);
    sent["streamingTarget"]["bucket"] = json!(7);
    sent["streamingTarget"]["buckets"] = json!("x");
    sent["advancedProperties"] = json!({"commit.interval": 10});
    sent.as_object_mut().unwrap().remove("agentId");
    let refused = refused(sent);
    for path in [
        "name",
        "agentId",
        "streamingSource.connection.port",
        "streamingSource.tables",
        "streamingTarget.bucket",
        "streamingTarget.buckets",
        "advancedProperties.commit.interval",
    ] {
        assert!(refused.iter().any(|problem| problem.starts_with(&format!("{path}: "))), "{path} not in {refused:#?}");
    }
    assert_eq!(refused.len(), 7, "{refused:#?}");
}

#[test]
fn a_plain_secret_is_refused_wherever_it_stands_and_never_repeated() {
    for place in [
        "/streamingSource/connection/password",
        "/streamingSource/connection/jdbcProperties/sslpassword",
        "/streamingSource/connection/jdbcProperties/accessToken",
        "/streamingSource/connection/jdbcProperties/keyVaultProviderClientKey",
        "/streamingTarget/accountKey",
        "/streamingTarget/secret",
        "/advancedProperties/ssl.key.password",
        "/advancedProperties/api.key",
        "/password",
    ] {
        let mut sent = pipeline(&sources()[0], &targets()[2]);
        let (parent, name) = place.rsplit_once('/').unwrap();
        sent.pointer_mut(parent).unwrap()[name] = json!("s3cret");
        let refused = refused(sent);
        assert_eq!(refused.len(), 1, "{place}: {refused:#?}");
        assert!(refused[0].contains(name) && !refused[0].contains("s3cret"), "{refused:#?}");
    }
}

#[test]
fn properties_that_name_a_path_or_a_class_are_no_secrets() {
    let mut sent = shop();
    let properties = json!({"sslkey": "/k", "sslcert": "/c", "sslrootcert": "/r", "sslpasswordcallback": "a.B",
        "passwordCharacterEncoding": "UTF-8", "message.key.columns": "a", "slot.name": "x", "no.meaning": ""});
    sent["streamingSource"]["connection"]["jdbcProperties"] = properties.clone();
    sent["advancedProperties"] = properties;
    let kept = pipeline_body(sent.clone(), None).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(Value::Object(kept), sent);
}

#[test]
fn the_id_may_be_repeated_and_not_changed() {
    let mut sent = shop();
    sent["streamingPipelineId"] = json!("one");
    assert_eq!(Value::Object(pipeline_body(sent.clone(), Some("one")).unwrap()), shop());
    assert!(pipeline_body(sent.clone(), Some("two")).is_err());
    assert!(pipeline_body(sent, None).is_err());
}

#[test]
fn what_no_agent_runs_yet_says_so_and_what_runs_does_not() {
    for source in &sources()[1..] {
        let problem = unsupported(&pipeline(source, &targets()[0])).unwrap();
        assert_eq!(problem.path, "streamingSource.type");
    }
    let mut sent =
        pipeline(&sources()[0], &json!({"type": "local", "path": "/lake", "format": "parquet", "layout": "flat"}));
    sent["streamingSource"]["connection"]["password"]["secretType"] = json!("env");
    assert_eq!(unsupported(&sent), None);
    sent["streamingTarget"] = targets()[5].clone();
    assert_eq!(unsupported(&sent).unwrap().path, "streamingTarget.type");
}

#[test]
fn a_part_of_a_pipeline_can_be_asked_about() {
    let source =
        json!({"type": "POSTGRES", "connection": {"host": "h", "port": 5432, "database": "d", "username": "u"}});
    let asked = wire::question_body(json!({"streamingSource": source, "name": null})).unwrap();
    assert_eq!(asked["streamingSource"]["type"], "postgres");
    let question = Question::parse(&Value::Object(asked)).unwrap();
    assert!(question.target.is_none() && question.tables.is_empty());
    assert_eq!(question.source_part().unwrap().slot_name(), "millrace_");
    let target = json!({"type": "local", "path": "/lake", "format": "parquet", "layout": "flat"});
    let question = Question::parse(&json!({"streamingTarget": target})).unwrap();
    assert!(question.source_part().is_none() && question.target_part().is_some());
    // Nothing is no question, and what is there is held to the same rules.
    for body in [json!({}), json!({"name": "x"}), json!({"streamingSource": {"type": "postgres"}})] {
        assert!(wire::question_body(body.clone()).is_err(), "{body}");
        assert!(Question::parse(&body).is_err(), "{body}");
    }
    let mysql = json!({"type": "mysql", "connection": {"host": "h", "port": 3306, "username": "u"}});
    let later = Question::parse(&json!({"streamingSource": mysql})).unwrap_err();
    assert_eq!(later.0.first().unwrap().code, millrace_protocol::NOT_BUILT);
}

#[test]
fn the_words_of_a_field_say_which_of_them_work() {
    let built = |path: &str| -> Vec<&str> {
        wire::words(path).into_iter().filter(|(_, built)| *built).map(|(word, _)| word).collect()
    };
    assert_eq!(built("streamingSource.type"), ["postgres"]);
    assert_eq!(built("streamingTarget.format"), ["avro", "parquet", "json"]);
    assert!(built("streamingSource.connection.password.secretType").contains(&"env"));
    assert!(wire::words("streamingSource.type").contains(&("mysql", false)));
    assert!(wire::words("streamingSource.nothing").is_empty());
}
