//! What a policy lets through, and what it binds.

use millrace_protocol::PipelineSpec;

use super::*;

fn spec(host: &str, secret: &str) -> PipelineSpec {
    let text = format!(
        "version: 1\nname: shop\nstreamingSource:\n  type: postgres\n  connection: {{host: {host}, port: 5432, \
         database: shop, username: u, password: {{secretType: env, secretName: {secret}}}}}\n  \
         tables: [{{schema: public, table: t}}]\nstreamingTarget: {{type: local, path: /lake}}\n"
    );
    PipelineSpec::parse(&text, millrace_protocol::Notation::Yaml, "/".as_ref()).unwrap()
}

#[test]
fn a_secret_stays_with_its_host_until_the_operator_names_another() {
    let open = Policy::default();
    let mut bindings = Bindings::new();
    let Binding { names, host } = open.binds(spec("db.internal", "A").source_part(), &bindings).unwrap().unwrap();
    bindings.entry(names[0].clone()).or_default().insert(host);
    assert_eq!(open.binds(spec("DB.internal", "A").source_part(), &bindings).unwrap(), None);
    assert!(open.binds(spec("evil.example", "B").source_part(), &bindings).unwrap().is_some());
    let refused = open.binds(spec("evil.example", "A").source_part(), &bindings).unwrap_err().to_string();
    assert!(refused.contains("- \"evil.example\""), "{refused}");
    let wide = Policy { hosts: Some(vec!["*".into()]), ..Policy::default() };
    assert!(wide.binds(spec("evil.example", "A").source_part(), &bindings).is_err());
    let named = Policy { hosts: Some(vec!["db2.internal".into()]), ..Policy::default() };
    assert!(named.binds(spec("db2.internal", "A").source_part(), &bindings).unwrap().is_some());
}

#[test]
fn another_key_version_or_spelling_of_a_secret_stays_with_its_host() {
    let open = Policy::default();
    let of = |host: &str, store: &str, name: &str, key: Option<&str>| {
        let mut spec = spec(host, "A");
        let SourceSpec::Postgres { connection, .. } = &mut spec.source else { panic!("it is PostgreSQL") };
        let (store, name, key) = (store.into(), name.into(), key.map(Into::into));
        connection.password = Some(millrace_model::SecretReference { store, name, key });
        spec
    };
    let aws = "aws_secrets_manager";
    let mut bindings = Bindings::new();
    let first = of("db.internal", aws, "shop/db", Some("password"));
    let Binding { names, host } = open.binds(first.source_part(), &bindings).unwrap().unwrap();
    for name in names {
        bindings.entry(name).or_default().insert(host.clone());
    }
    // As an earlier version kept it.
    bindings.entry("hashicorp_vault:secret/db:password".into()).or_default().insert("db.internal".into());
    let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:shop/db-AbCdEf";
    for (store, name, key) in [
        (aws, "shop/db", None),
        (aws, "shop/db", Some("other")),
        (aws, arn, Some("password")),
        (aws, "shop/db?versionStage=AWSPREVIOUS", Some("password")),
        ("hashicorp_vault", "secret/db?version=1", Some("password")),
    ] {
        assert!(open.binds(of("db.internal", store, name, key).source_part(), &bindings).unwrap().is_none(), "{name}");
        assert!(open.binds(of("evil.example", store, name, key).source_part(), &bindings).is_err(), "{name}");
    }
    assert!(open.binds(of("evil.example", aws, "shop/db2", None).source_part(), &bindings).unwrap().is_some());
}

#[test]
fn a_pattern_does_not_cover_steps_out_of_its_folder() {
    let list = vec!["/run/secrets/*".to_owned(), "../beside".to_owned()];
    assert!(check_secret(Some(&list), "/run/secrets/a").is_ok());
    assert!(check_secret(Some(&list), "/run/secrets/../../etc/shadow").is_err());
    assert!(check_secret(Some(&list), "../beside").is_ok());
}

#[test]
fn the_key_of_a_stores_account_stays_with_its_host_too() {
    let abs = |endpoint: &str| {
        let target = format!(
            "streamingTarget: {{type: abs, container: c, accountName: acme, accountKey: {{secretType: env, secretName: K}}{endpoint}}}"
        );
        let text = format!(
            "version: 1\nname: shop\nstreamingSource:\n  type: postgres\n  connection: {{host: h, port: 5432, \
             database: shop, username: u}}\n  tables: [{{schema: public, table: t}}]\n{target}\n"
        );
        PipelineSpec::parse(&text, millrace_protocol::Notation::Yaml, "/".as_ref()).unwrap()
    };
    let open = Policy::default();
    let mut bindings = Bindings::new();
    let mut bound = open.binds_target(abs("").target_part(), &bindings).unwrap();
    let Binding { names, host } = bound.pop().unwrap();
    assert_eq!(bound, []);
    assert_eq!(host, "acme.blob.core.windows.net");
    bindings.entry(names[0].clone()).or_default().insert(host);
    assert_eq!(open.binds_target(abs("").target_part(), &bindings).unwrap(), []);
    let elsewhere = abs(", endpoint: 'https://evil.example/acme'");
    assert!(open.binds_target(elsewhere.target_part(), &bindings).is_err());
    let listed = Policy { secrets: Some(vec!["L".into()]), ..Policy::default() };
    assert!(listed.allows(None, Some(abs("").target_part())).is_err());
}

#[test]
fn a_list_refuses_what_it_does_not_hold_with_the_line_to_add() {
    let policy: Policy =
        serde_saphyr::from_str("allowedHosts: [db.internal]\nallowedSecrets: [A*]\nallowedTargets: [/lake]").unwrap();
    let allows = |spec: PipelineSpec| policy.allows(Some(spec.source_part()), Some(spec.target_part()));
    allows(spec("db.internal", "AB")).unwrap();
    for (host, secret, line) in [("other", "AB", "- \"other\""), ("db.internal", "B", "- \"B\"")] {
        let refused = allows(spec(host, secret)).unwrap_err().to_string();
        assert!(refused.contains(line), "{refused}");
    }
    assert!(serde_saphyr::from_str::<Policy>("allowedHost: []").is_err());
}

#[test]
fn a_file_that_is_no_policy_is_refused_by_its_name_and_in_the_words_of_people() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    for text in
        ["allowedHosts: [a]\n---\nallowedHosts: [b]\n", "allowedHosts: [a]\nallowedHosts: [b]\n", "allowedHost: []\n"]
    {
        std::fs::write(&file, text).unwrap();
        let refused = Policy::read(Some(&file)).unwrap_err().to_string();
        assert!(refused.contains("policy.yaml") && refused.contains("line"), "{refused}");
        assert!(!refused.contains("from_str") && !refused.contains("DuplicateKeyPolicy"), "{refused}");
    }
}

#[test]
fn a_star_stands_for_any_characters() {
    for (pattern, value, same) in [
        ("db.internal", "db.internal", true),
        ("db.internal", "db.internal.evil", false),
        ("*.internal", "db.internal", true),
        ("*.internal", "internal", false),
        ("millrace/*/db", "millrace/shop/db", true),
        ("millrace/*", "other/shop", false),
        ("*", "", true),
    ] {
        assert_eq!(matches(pattern, value), same, "{pattern} {value}");
    }
}

/// The shop with another target.
fn into(target: &str) -> PipelineSpec {
    let text = format!(
        "version: 1\nname: shop\nstreamingSource:\n  type: postgres\n  connection: {{host: db.internal, port: 5432, \
         database: shop, username: u}}\n  tables: [{{schema: public, table: t}}]\nstreamingTarget: {{{target}}}\n"
    );
    PipelineSpec::parse(&text, millrace_protocol::Notation::Yaml, "/".as_ref()).unwrap()
}

/// A guard as a process has it, with nothing kept.
struct Agent {
    guard: Guard,
    cache: Cache,
}

impl Agent {
    fn with(policy: &str) -> Self {
        let owner = crate::cache::Owner { hub: String::new(), account: String::new(), agent: String::new() };
        let guard = Guard::new(serde_saphyr::from_str(policy).unwrap(), Bindings::new());
        Self { guard, cache: Cache::open(None, owner).unwrap() }
    }

    /// Why a target is not looked at.
    fn refuses(&self, target: &str) -> Option<String> {
        self.guard.allows(None, Some(into(target).target_part())).err().map(|cause| cause.to_string())
    }

    fn runs(&self, target: &str) {
        let spec = into(target);
        self.guard.allows(Some(spec.source_part()), Some(spec.target_part())).unwrap();
        self.guard.bind(spec.source_part(), spec.target_part(), &self.cache).unwrap();
    }
}

#[test]
fn an_endpoint_is_a_host_and_has_to_be_listed_unless_it_is_the_clouds_own() {
    let agent = Agent::with("{allowedHosts: [db.internal, minio.internal], allowedTargets: [lake, acme/lake]}");
    for target in [
        "type: s3, bucket: lake",
        "type: s3, bucket: lake, endpoint: 'https://s3.eu-west-1.amazonaws.com'",
        "type: s3, bucket: lake, endpoint: 'http://minio.internal:9000'",
        "type: gcs, bucket: lake, endpoint: 'https://storage.googleapis.com'",
        "type: abs, container: lake, accountName: acme, endpoint: 'https://acme.blob.core.windows.net'",
    ] {
        assert_eq!(agent.refuses(target), None, "{target}");
    }
    for target in [
        "type: s3, bucket: lake, endpoint: 'https://evil.example'",
        "type: s3, bucket: lake, endpoint: 'https://minio.internal@evil.example/'",
        "type: gcs, bucket: lake, endpoint: 'http://evil.example:18191'",
        "type: abs, container: lake, accountName: acme, endpoint: 'https://evil.example/acme'",
    ] {
        let refused = agent.refuses(target).unwrap_or_else(|| panic!("{target}"));
        assert!(refused.contains("- \"evil.example\"` under `allowedHosts`"), "{refused}");
    }
}

/// A hub's question is read as a file is: what is no name never comes to a policy.
#[test]
fn no_name_in_a_question_leads_to_another_host() {
    let asked =
        |target: serde_json::Value| millrace_protocol::Question::parse(&serde_json::json!({"streamingTarget": target}));
    assert!(asked(serde_json::json!({"type": "s3", "bucket": "lake", "region": "eu-west-1"})).is_ok());
    for target in [
        serde_json::json!({"type": "s3", "bucket": "lake", "region": "x.evil.example/"}),
        serde_json::json!({"type": "s3", "bucket": "134744072/"}),
        serde_json::json!({"type": "abs", "container": "lake", "accountName": "evil.example/x"}),
    ] {
        assert!(asked(target).is_err());
    }
}

#[test]
fn a_container_is_listed_with_its_account_or_is_that_of_the_first_one() {
    let abs = |account: &str| format!("type: abs, container: lake, accountName: {account}");
    let pinned = Agent::with("{allowedTargets: [acme/lake]}");
    assert_eq!(pinned.refuses(&abs("acme")), None);
    let refused = pinned.refuses(&abs("evil")).unwrap();
    assert!(refused.contains("- \"evil/lake\"` under `allowedTargets`"), "{refused}");
    for wrong in ["acme*", "ac*e/x", "/acme/*"] {
        assert!(Agent::with(&format!("{{allowedTargets: ['{wrong}']}}")).refuses(&abs("acme")).is_some(), "{wrong}");
    }

    // The line of a bucket opens no container of another account than the one that is listed.
    assert!(Agent::with("{allowedTargets: [lake, acme/lake]}").refuses(&abs("evil")).is_some());
    assert_eq!(Agent::with("{allowedTargets: [lake, acme/other, '/data/*']}").refuses(&abs("evil")), None);

    let alone = Agent::with("{allowedHosts: ['*', evil.blob.core.windows.net], allowedTargets: [lake]}");
    alone.runs(&abs("acme"));
    assert_eq!(alone.refuses(&abs("acme")), None);
    let refused = alone.refuses(&abs("evil")).unwrap();
    assert!(refused.contains("- \"evil/lake\"` under `allowedTargets`"), "{refused}");
}

#[test]
fn a_role_is_listed_as_a_secret_is_and_a_path_does_not_step_upwards() {
    let agent = Agent::with("{allowedSecrets: ['arn:aws:iam::1:role/lake'], allowedTargets: [lake, '/okay/*']}");
    let role = |arn: &str| format!("type: s3, bucket: lake, roleArn: '{arn}'");
    assert_eq!(agent.refuses(&role("arn:aws:iam::1:role/lake")), None);
    let refused = agent.refuses(&role("arn:aws:iam::2:role/evil")).unwrap();
    assert!(refused.contains("role/evil\"` under `allowedSecrets`"), "{refused}");
    assert_eq!(agent.refuses("type: local, path: /okay/a"), None);
    assert!(agent.refuses("type: local, path: /okay/../evil-lake").unwrap().contains("`..`"));
    assert_eq!(Agent::with("{}").refuses("type: local, path: /okay/../lake"), None);
}

#[test]
fn the_platforms_identity_stays_with_the_first_endpoint_and_the_cloud_itself() {
    let s3 = |endpoint: &str| format!("type: s3, bucket: lake, endpoint: '{endpoint}'");
    let agent = Agent::with("{}");
    agent.runs("type: s3, bucket: lake");
    assert_eq!(agent.refuses("type: s3, bucket: other"), None);
    let refused = agent.refuses(&s3("https://evil.example")).unwrap();
    assert!(refused.contains("identity (aws)") && refused.contains("- \"evil.example\""), "{refused}");
    // Of another cloud it is another one.
    assert_eq!(agent.refuses("type: gcs, bucket: lake, endpoint: 'https://emulator.internal'"), None);

    let agent = Agent::with("{}");
    agent.runs(&s3("https://minio.internal"));
    assert_eq!(agent.refuses("type: s3, bucket: lake"), None);
    assert!(agent.refuses(&s3("https://evil.example")).is_some());

    let agent = Agent::with("{}");
    agent.runs("type: abs, container: lake, accountName: acme");
    assert!(agent.refuses("type: abs, container: lake, accountName: evil").is_some());
}
