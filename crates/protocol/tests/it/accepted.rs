//! Files that are accepted, and what comes out of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_model::ByteSize;
use millrace_protocol::*;

use crate::{BILLING, SHOP, parse};

#[test]
fn the_first_example_gives_a_postgres_pipeline_to_a_folder_beside_the_file() {
    let spec = parse(SHOP).unwrap();
    assert_eq!(spec.name, "shop");
    let SourceSpec::Postgres { connection, database } = &spec.source else { panic!("{:?}", spec.source) };
    assert_eq!((connection.host.as_str(), connection.port, database.as_str()), ("127.0.0.1", 5432, "shop"));
    let password = connection.password.as_ref().unwrap();
    assert_eq!((password.store.as_str(), password.name.as_str()), ("env", "SHOP_PASSWORD"));
    assert_eq!(spec.tables[1], TableSpec { schema: "public".into(), table: "customers".into() });
    let StoreSpec::Local { path } = &spec.target.store else { panic!("{:?}", spec.target) };
    assert_eq!(path, &PathBuf::from("/etc/millrace/./lake"));
    assert_eq!(
        (spec.target.format, spec.target.layout, spec.target.compression),
        (Format::Parquet, Layout::Flat, Compression::Zstd)
    );
    assert_eq!(spec.advanced.commit_interval, Duration::from_secs(1));
    assert_eq!(spec.slot_name(), "millrace_shop");
    assert_eq!(spec.findings, []);
}

#[test]
fn the_second_example_parses_and_what_is_not_built_of_it_is_refused_with_what_works_today() {
    let spec = parse(BILLING).unwrap();
    assert_eq!(spec.advanced.server_id, Some(184_054));
    assert_eq!(spec.advanced.memory_limit, ByteSize::mib(400));
    assert_eq!(spec.target.prefix, "raw/billing");
    let refused = spec.runnable().unwrap_err().0;
    let of = |path: &str| refused.iter().find(|problem| problem.path == path).unwrap().cure.clone();
    assert_eq!(of("streamingSource.type"), "what works today: postgres");
    assert!(!refused.iter().any(|problem| problem.path.starts_with("streamingTarget")));
    assert!(!refused.iter().any(|problem| problem.path.contains("password")), "{refused:?}");
}

#[test]
fn a_bucket_is_read_with_all_that_is_said_of_it() {
    let text = "streamingTarget: {type: s3, bucket: b, region: eu-west-1, endpoint: 'https://s3.example', pathStyle: false, \
                kmsKeyId: k, storageClass: STANDARD_IA, requesterPays: true, tags: {a: b}, format: parquet, layout: flat}";
    let target = SHOP.lines().find(|line| line.starts_with("streamingTarget")).unwrap();
    let spec = parse(&SHOP.replace(target, text)).unwrap().runnable().unwrap();
    let StoreSpec::S3(s3) = spec.target.store else { panic!("{:?}", spec.target) };
    assert_eq!((s3.bucket.as_str(), s3.region.as_deref(), s3.path_style), ("b", Some("eu-west-1"), Some(false)));
    assert_eq!((s3.kms_key_id.as_deref(), s3.storage_class.as_deref()), (Some("k"), Some("STANDARD_IA")));
    assert_eq!((s3.requester_pays, s3.tags), (true, vec![("a".to_owned(), "b".to_owned())]));
    let with = |words: &str| parse(&SHOP.replace(target, &text.replace("kmsKeyId: k", words)));
    let StoreSpec::S3(s3) = with("roleArn: r, externalId: x").unwrap().target.store else { panic!("no bucket") };
    assert_eq!((s3.role_arn.as_deref(), s3.external_id.as_deref()), (Some("r"), Some("x")));
    let refused = with("externalId: x").unwrap_err();
    assert_eq!(refused.0[0].path, "streamingTarget.externalId");
}

#[test]
fn a_file_that_leaves_out_format_and_layout_means_avro_in_the_envelope() {
    let target = |words: &str| {
        let text = SHOP.replace("format: parquet, layout: flat, compression: zstd", words);
        parse(&text.replace(", }", "}")).unwrap().runnable().unwrap().target
    };
    let of = |target: TargetSpec| (target.format, target.layout, target.compression, target.decimals);
    assert_eq!(of(target("")), (Format::Avro, Layout::Envelope, Compression::Deflate, DecimalMapping::Logical));
    assert_eq!(
        of(target("format: json, layout: flat, decimalMapping: legacy")),
        (Format::Json, Layout::Flat, Compression::Zstd, DecimalMapping::Legacy)
    );
}

#[test]
fn what_is_not_built_ends_with_64() {
    let spec = parse(BILLING).unwrap();
    let fault = millrace_model::Fault::from(spec.runnable().unwrap_err());
    assert_eq!((fault.code, fault.exit_code()), ("PL-003", 64));
}

#[test]
fn json_means_the_same_as_yaml() {
    let json = r#"{"version":1,"name":"shop","streamingSource":{"type":"Postgres","connection":{"host":"h","port":5432,
        "database":"d","username":"u","password":null},"tables":[{"schema":"public","table":"*"}]},
        "streamingTarget":{"type":"local","path":"/lake","format":"PARQUET","layout":"flat"},
        "advancedProperties":{"snapshot.mode":"never"}}"#;
    let spec = PipelineSpec::parse(json, Notation::Json, Path::new("")).unwrap().runnable().unwrap();
    let SourceSpec::Postgres { connection, .. } = &spec.source else { panic!("{:?}", spec.source) };
    assert_eq!(connection.password, None);
    assert_eq!(spec.target.compression, Compression::Zstd, "the format's default");
    let codes: Vec<&str> = spec.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["PL-009"], "without sslmode the connection would like to be encrypted, and is not");
}

#[test]
fn keys_of_other_products_are_honoured_and_keys_without_meaning_are_reported() {
    let text = SHOP.replace(
        "commit.interval: 1s",
        "heartbeat.interval.ms: '5000', publication.autocreate.mode: disabled, tombstones.on.delete: 'false', \
         comit.interval: 1s, server.id: '7', pgoutput.streaming: 'true'",
    );
    let spec = parse(&text.replace("snapshot.mode: initial", "snapshot.mode: no_data")).unwrap().runnable().unwrap();
    assert_eq!(spec.advanced.heartbeat_interval, Duration::from_secs(5));
    assert_eq!(spec.advanced.publication_mode, PublicationMode::Use);
    assert_eq!(spec.advanced.snapshot_mode, SnapshotMode::Never);
    let found: Vec<(&str, &str)> =
        spec.findings.iter().map(|finding| (finding.code, finding.subject.as_str())).collect();
    assert_eq!(
        found,
        [
            ("PL-007", "advancedProperties.heartbeat.interval.ms"),
            ("PL-007", "advancedProperties.publication.autocreate.mode"),
            ("PL-006", "advancedProperties.tombstones.on.delete"),
            ("PL-006", "advancedProperties.comit.interval"),
            ("PL-006", "advancedProperties.server.id"),
        ]
    );
    assert!(spec.findings[3].cure.contains("`commit.interval`"), "{}", spec.findings[3].cure);
}

#[test]
fn a_written_slot_name_is_used_as_it_is_and_a_heartbeat_cannot_be_turned_off() {
    let text = SHOP.replace("commit.interval: 1s", "slot.name: mine, heartbeat.interval.ms: '0'");
    let spec = parse(&text).unwrap();
    assert_eq!(spec.slot_name(), "mine");
    assert_eq!(spec.publication_name(), "millrace_shop");
    assert_eq!(spec.advanced.heartbeat_interval, Duration::from_mins(1));
}
