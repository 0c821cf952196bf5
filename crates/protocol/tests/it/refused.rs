//! Files that are refused: each problem with its path, all of them at once, no secret in any message.

use std::collections::BTreeSet;
use std::path::Path;

use millrace_protocol::{Notation, PipelineSpec};
use serde_json::{Value, json};

use crate::{SHOP, parse, problems};

#[test]
fn an_unknown_field_is_refused_with_the_name_that_was_meant() {
    let text = SHOP.replace("  connection:", "  conection:");
    let refused = parse(&text).unwrap_err().0;
    let unknown = refused.iter().find(|problem| problem.path == "streamingSource.conection").unwrap();
    assert_eq!(unknown.cure, "did you mean `connection`?");
    assert_eq!((unknown.code, unknown.line), ("PL-002", 5));
    assert!(refused.iter().any(|problem| problem.path == "streamingSource.connection"), "and it is missing");
}

#[test]
fn all_problems_are_reported_at_once_with_their_paths() {
    let text = SHOP
        .replace("version: 1", "version: 2")
        .replace("port: 5432", "port: abc")
        .replace("table: customers", "tabel: customers")
        .replace("compression: zstd", "compression: gzip")
        .replace("commit.interval: 1s", "commit.interval: soon, memory.limit: 200MB");
    let refused = problems(&text);
    for expected in [
        "version: must be 1, not 2",
        "streamingSource.connection.port: must be a whole number from 1 to 65535, not `abc`",
        "streamingSource.tables[1].tabel: is not a field of the pipeline",
        "streamingSource.tables[1].table: is missing",
        "streamingTarget.compression: parquet files can be zstd, snappy, none, not `gzip`",
        "advancedProperties.commit.interval: must be a duration from 10ms to 24h, not `soon`",
        "advancedProperties.memory.limit: must be a size from 64MiB to 1TiB, not `200MB`",
    ] {
        assert!(refused.iter().any(|problem| problem == expected), "{expected}\nnot in {refused:#?}");
    }
}

#[test]
fn what_is_wrong_with_an_address_a_port_or_a_path_is_said_with_what_to_write() {
    for (place, written, wrong, cure) in [
        ("port: 5432", "port: 99999", "a whole number from 1 to 65535, not 99999", "a number from 1 to 65535"),
        ("port: 5432", "port: '5432'", "a whole number from 1 to 65535", "write it without quotes"),
        ("port: 5432", "port: abc", "a whole number from 1 to 65535", "write digits only"),
        ("host: 127.0.0.1", "host: ''", "must not be empty", "`host: db.example.com`"),
        ("host: 127.0.0.1", "host: /var/run/postgresql", "not by a socket", "`host: db.example.com`"),
        ("host: 127.0.0.1", "host: postgres://a:b@c/d", "no URL", "`host: db.example.com`"),
        ("path: ./lake", "path: ~/lake", "must not begin with `~`", "write the whole path"),
        ("path: ./lake", "path: \"~\"", "must not begin with `~`", "write the whole path"),
    ] {
        assert!(SHOP.contains(place), "{place} in {SHOP}");
        let refused = parse(&SHOP.replace(place, written)).unwrap_err().0;
        let [problem] = refused.as_slice() else { panic!("{written}: {refused:#?}") };
        assert!(problem.message.contains(wrong) && problem.cure.contains(cure), "{problem:#?}");
    }
    for fine in ["path: ./~/lake", "path: ~lake", "path: lake~/x"] {
        assert!(parse(&SHOP.replace("path: ./lake", fine)).is_ok(), "{fine}");
    }
}

#[test]
fn a_name_that_becomes_part_of_a_host_is_a_name() {
    for (target, path) in [
        ("type: s3, bucket: lake, region: x.evil.example/", "region"),
        ("type: s3, bucket: lake, region: 'evil.example#'", "region"),
        ("type: s3, bucket: 134744072/", "bucket"),
        ("type: s3, bucket: 's3://lake'", "bucket"),
        ("type: gcs, bucket: ..", "bucket"),
        ("type: abs, container: lake, accountName: evil.example/x", "accountName"),
        ("type: abs, container: ../x, accountName: acme", "container"),
    ] {
        let refused = parse(&into(target)).unwrap_err().0;
        let [problem] = refused.as_slice() else { panic!("{target}: {refused:#?}") };
        assert_eq!(problem.path, format!("streamingTarget.{path}"), "{target}");
    }
    for target in [
        "type: s3, bucket: my.Lake_1, region: us-gov-east-1",
        "type: gcs, bucket: lake.example.com",
        "type: abs, container: $root, accountName: acme",
    ] {
        assert!(parse(&into(target)).is_ok(), "{target}");
    }
}

/// The example with another target.
fn into(target: &str) -> String {
    let (before, _) = SHOP.split_once("streamingTarget:").unwrap();
    format!("{before}streamingTarget: {{{target}}}\n")
}

#[test]
fn a_duration_or_size_out_of_its_range_is_refused_with_the_range_and_an_example() {
    for (written, wrong, cure) in [
        ("memory.limit: 63MiB", "a size from 64MiB to 1TiB, not `63MiB`", "`memory.limit: \"200MiB\"`"),
        ("commit.bytes: 0B", "a size from 4KiB to 64GiB, not `0B`", "`commit.bytes: \"128MiB\"`"),
        ("commit.interval: 0s", "a duration from 10ms to 24h, not `0s`", "`commit.interval: \"10s\"`"),
        ("commit.interval: 9999999d", "a duration from 10ms to 24h, not `9999999d`", "units are ms, s, m and h"),
        ("commit.interval: 25h", "a duration from 10ms to 24h, not `25h`", "`commit.interval: \"10s\"`"),
        ("heartbeat.interval.ms: '1'", "a duration from 100ms to 1h, not `1ms`", "`heartbeat.interval: \"60s\"`"),
        ("stop.deadline: 999ms", "a duration from 1s to 1h, not `999ms`", "`stop.deadline: \"20s\"`"),
        ("stop.deadline: 18446744073709551615h", "a duration from 1s to 1h", "`stop.deadline: \"20s\"`"),
        ("snapshot.parallelism: '65'", "a whole number from 1 to 64, not `65`", "`snapshot.parallelism: \"2\"`"),
    ] {
        let refused = parse(&SHOP.replace("commit.interval: 1s", written)).unwrap_err().0;
        let [problem] = refused.as_slice() else { panic!("{written}: {refused:#?}") };
        assert!(problem.message.contains(wrong) && problem.cure.contains(cure), "{problem:#?}");
    }
    for edge in ["10ms", "24h", "1440m"] {
        assert!(parse(&SHOP.replace("commit.interval: 1s", &format!("commit.interval: {edge}"))).is_ok(), "{edge}");
    }
}

/// A value of each kind, in the place of each field and of each property.
#[test]
fn no_refusal_of_any_field_is_without_a_cure() {
    let document: serde_json::Value = serde_saphyr::from_str(SHOP).unwrap();
    let mut seen = BTreeSet::new();
    let mut places = Vec::new();
    collect("", &document, &mut places);
    for key in ["commit.bytes", "spill.directory", "slot.name", "publication.name", "pgoutput.streaming", "server.id"] {
        places.push(format!("/advancedProperties/{key}"));
    }
    assert!(places.len() > 20, "{places:?}");
    let long = "x".repeat(300);
    for place in &places {
        for value in
            [json!(null), json!(7), json!(-1), json!(true), json!(""), json!("x y"), json!(long), json!([]), json!({})]
        {
            let mut changed = document.clone();
            let (parent, name) = place.rsplit_once('/').unwrap();
            match changed.pointer_mut(parent).unwrap() {
                Value::Array(elements) => elements[name.parse::<usize>().unwrap()] = value,
                parent => parent[name] = value,
            }
            let Err(refused) = PipelineSpec::parse(&changed.to_string(), Notation::Json, Path::new("")) else {
                continue;
            };
            for problem in refused.0 {
                assert!(!problem.message.is_empty() && !problem.cure.is_empty(), "{problem:#?}");
                seen.insert((problem.path, problem.message));
            }
        }
    }
    assert!(seen.len() > 80, "only {} refusals were seen", seen.len());
}

/// Paths of all values below `value`, as JSON pointers.
fn collect(path: &str, value: &Value, places: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in below {
        places.push(format!("{path}/{name}"));
        collect(&format!("{path}/{name}"), value, places);
    }
}

#[test]
fn each_wrong_value_names_its_field() {
    for (from, to, path) in [
        ("version: 1 ", "", "version"),
        ("name: shop", "name: 7", "name"),
        ("name: shop", "name: ''", "name"),
        ("port: 5432", "port: 0", "streamingSource.connection.port"),
        ("port: 5432", "port: '5432'", "streamingSource.connection.port"),
        ("host: 127.0.0.1", "host: 'postgres://u:s3cret@h'", "streamingSource.connection.host"),
        ("type: postgres", "type: postgrs", "streamingSource.type"),
        ("type: postgres", "type: oracle", "streamingSource.type"),
        ("type: local", "type: snowflake", "streamingTarget.type"),
        ("path: ./lake, ", "", "streamingTarget.path"),
        ("prefix: \"\"", "prefix: a/../b", "streamingTarget.prefix"),
        ("layout: flat", "layout: flatt", "streamingTarget.layout"),
        ("table: customers", "table: orders", "streamingSource.tables[1]"),
        ("schema: public, table: orders", "schema: '*', table: orders", "streamingSource.tables[0].schema"),
        ("secretType: env", "secretType: vault", "streamingSource.connection.password.secretType"),
        ("sslmode: disable", "sslmode: require", "streamingSource.connection.jdbcProperties.sslmode"),
        ("sslmode: disable", "sslmode: s3cret", "streamingSource.connection.jdbcProperties.sslmode"),
        ("sslmode: disable", "ssl: 'true'", "streamingSource.connection.jdbcProperties.ssl"),
        ("sslmode: disable", "sslpassword: s3cret", "streamingSource.connection.jdbcProperties.sslpassword"),
        ("commit.interval: 1s", "commit.interval: 1", "advancedProperties.commit.interval"),
        ("commit.interval: 1s", "slot.name: Shop-1", "advancedProperties.slot.name"),
        ("commit.interval: 1s", "ssl.key.password: s3cret", "advancedProperties.ssl.key.password"),
        ("commit.interval: 1s", "snapshot.mode.x: a, pgoutput.binary: maybe", "advancedProperties.pgoutput.binary"),
    ] {
        assert!(SHOP.contains(from), "{from}");
        let refused = problems(&SHOP.replace(from, to));
        assert!(refused.iter().any(|problem| problem.starts_with(&format!("{path}: "))), "{to}: {refused:#?}");
        assert!(!refused.iter().any(|problem| problem.contains("s3cret")), "{refused:#?}");
    }
}

#[test]
fn an_empty_list_of_tables_is_refused() {
    let at = SHOP.find("tables: [").unwrap();
    let end = at + SHOP[at..].find('\n').unwrap();
    let refused = problems(&SHOP.replace(&SHOP[at..end], "tables: []"));
    assert_eq!(refused[0], "streamingSource.tables: must not be empty");
}

#[test]
fn a_password_in_plain_text_is_refused_and_never_shown() {
    for plain in ["s3cret", "['s3cret']", "{secretType: env, secretName: X, value: s3cret}"] {
        let refused = parse(&SHOP.replace("{secretType: env, secretName: SHOP_PASSWORD}", plain)).unwrap_err();
        assert!(refused.0.iter().any(|problem| problem.path.starts_with("streamingSource.connection.password")));
        assert!(!format!("{refused:?}").contains("s3cret"), "{refused:?}");
    }
}

#[test]
fn an_alias_beside_the_key_it_stands_for_is_refused() {
    let text = SHOP.replace("commit.interval: 1s", "heartbeat.interval: 5s, heartbeat.interval.ms: '5000'");
    assert!(problems(&text)[0].contains("says the same thing as `heartbeat.interval`"));
}

#[test]
fn what_is_no_map_at_all_is_refused() {
    for text in ["", "null", "- a", "just text", "version: 1\n  name: x"] {
        assert!(parse(text).is_err(), "{text}");
    }
}
