//! A database password that a cloud's secret service keeps.

use std::fs;

use millrace_testkit::clouds::SetClock;
use millrace_testkit::clouds::aws::FakeAws;
use millrace_testkit::postgres::{Auth, Settings};
use millrace_testkit::workload;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::shop::{PATIENCE, Shop};

#[test]
fn a_password_of_a_secret_service_opens_the_database_and_a_missing_permission_is_a_finding() {
    let runtime = Runtime::new().unwrap();
    let aws = runtime.block_on(async { FakeAws::start(&SetClock::now()) });
    aws.state().secrets.insert("shop/db".into(), r#"{"password":"right"}"#.into());
    let server = Settings::default().auth(Auth::Scram("right".into()));
    let shop = Shop::with(server, &workload::TABLES, |draft| draft.password_from("NONE"));
    let text = fs::read_to_string(&shop.pipeline.file).unwrap();
    let reference = "secretType: aws_secrets_manager, secretName: shop/db, key: password";
    fs::write(&shop.pipeline.file, text.replace("secretType: env, secretName: NONE", reference)).unwrap();
    let check = || -> Value {
        let asked = shop.command("check", &[]).env("AWS_ENDPOINT_URL", &aws.url()).env("AWS_REGION", "eu-west-1");
        let asked = asked.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "example");
        serde_json::from_str(&asked.complete(PATIENCE).unwrap().stdout).unwrap()
    };
    let found = check();
    assert_eq!(found["ok"], true, "{found}");
    aws.state().denied.insert("secretsmanager:GetSecretValue");
    let found = check();
    assert_eq!((&found["ok"], &found["findings"][0]["code"]), (&false.into(), &"SE-010".into()), "{found}");
    let cure = found["findings"][0]["cure"].as_str().unwrap();
    assert!(cure.contains(r#""Action":"secretsmanager:GetSecretValue""#), "{cure}");
    assert!(!found.to_string().contains("right"));
}
