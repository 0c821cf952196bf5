//! The wizard's target and secrets by a browser without JavaScript: each store with its own fields, each secret service with
//! the shape of its references.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::house::{House, Kind, on_both_databases};
use crate::visitor::Visitor;
use crate::wizard::{form, new_draft, send, signed_in, through};

on_both_databases!(
    each_object_store_is_asked_for_with_its_own_fields_and_created_as_they_say,
    a_secret_that_is_refused_at_any_step_is_kept_nowhere,
);

/// Fields of a form.
type Typed = &'static [(&'static str, &'static str)];

/// A step, its field that says what is wrong, and what was typed.
type Refused<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

async fn each_object_store_is_asked_for_with_its_own_fields_and_created_as_they_say(house: House) {
    let visitor = signed_in(&house).await;
    let stores: [(&str, &str, Typed, Value); 3] = [
        (
            "s3",
            "bucket",
            &[
                ("bucket", " acme-lake "),
                ("region", "eu-west-1"),
                ("prefix", "raw"),
                ("roleArn", "arn:aws:iam::1:role/lake"),
                ("pathStyle", "true"),
                ("tags", "team=data\nsite = Köln\n"),
            ],
            json!({"bucket": "acme-lake", "region": "eu-west-1", "prefix": "raw", "roleArn": "arn:aws:iam::1:role/lake",
                "pathStyle": true, "tags": {"team": "data", "site": "Köln"}}),
        ),
        (
            "abs",
            "container",
            &[
                ("container", "lake"),
                ("accountName", "acme"),
                ("secretType", "azure_key_vault"),
                ("secretName", "lake-key"),
            ],
            json!({"container": "lake", "accountName": "acme",
                "accountKey": {"secretType": "azure_key_vault", "secretName": "lake-key"}}),
        ),
        (
            "gcs",
            "bucket",
            &[("bucket", "lake"), ("userProject", "pay")],
            json!({"bucket": "lake", "userProject": "pay"}),
        ),
    ];
    for (kind, needed, typed, expected) in stores {
        let (agent, token) = house.agent(kind).await;
        house.hello(&token).await;
        let draft = new_draft(&visitor, &agent).await;
        let (tables, target) = (format!("{draft}/tables"), format!("{draft}/target"));
        let page = visitor.get(&tables).await.text().await.unwrap();
        send(&visitor, &tables, &page, &[("go", "next"), ("more", "sales.orders\n")]).await;
        let page = visitor.get(&target).await.text().await.unwrap();
        // Without a script the hub is asked for the fields of the kind.
        assert_eq!(send(&visitor, &target, &page, &[("go", "kind"), ("type", kind)]).await, target);
        let page = visitor.get(&target).await.text().await.unwrap();
        let names: Vec<String> = form(&page).into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().any(|name| name == needed) && !names.iter().any(|name| name == "path"), "{names:?}");
        for (name, _) in typed {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        let token = visitor.token().await;
        let refused = visitor.post(&target, &[("token", &token), ("type", kind), ("go", "next")]).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let page = refused.text().await.unwrap();
        assert!(page.contains("Must be filled in") && page.contains(&format!("id=\"e-{needed}\"")), "{page}");
        let mut all = vec![("go", "next")];
        all.extend(typed);
        let options = send(&visitor, &target, &page, &all).await;
        let review = through(&visitor, &options, "next").await;
        let page = visitor.get(&review).await.text().await.unwrap();
        rename(&visitor, &draft, &format!("lake-{kind}")).await;
        assert!(page.contains(&format!("type: {kind}")), "{page}");
        let done = through(&visitor, &review, "create").await;
        let made = house.get(&format!("{}/{}", house.pipelines(), done.rsplit('/').next().unwrap())).await;
        let mut whole = json!({"type": kind, "format": "avro", "layout": "envelope"});
        whole.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
        assert_eq!(made["streamingTarget"], whole);
    }
}

async fn a_secret_that_is_refused_at_any_step_is_kept_nowhere(house: House) {
    let visitor = signed_in(&house).await;
    let (agent, token) = house.agent("north").await;
    house.hello(&token).await;
    let draft = new_draft(&visitor, &agent).await;
    let pool = house.database().await;
    let long = format!("{} https://u:hunter2@host", "x".repeat(300));
    let cases: [Refused<'_>; 7] = [
        ("options", "properties", &[("properties", "kept=yes\ndatabase.password=hunter2\n")]),
        ("options", "properties", &[("properties", "kept=yes\nnote=https://u:hunter2@host/x\n")]),
        ("options", "properties", &[("properties", "kept=yes\napi.token=hunter2\nnot a property\n")]),
        ("options", "interval", &[("properties", "kept=yes"), ("interval", "postgres://u:hunter2@host")]),
        ("target", "tags", &[("type", "s3"), ("bucket", "b"), ("tags", "password=hunter2")]),
        ("name", "name", &[("name", &long), ("agentId", &agent)]),
        ("name", "agentId", &[("name", "stock"), ("agentId", "https://u:hunter2@host")]),
    ];
    for (step, field, typed) in cases {
        let (status, page) = visitor.send(&format!("{draft}/{step}"), &[typed, &[("go", "next")]].concat()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{step} {typed:?}");
        assert!(page.contains(&format!("id=\"e-{field}\"")), "{step} {typed:?}: {page}");
        let kept: Vec<String> = sqlx::query_scalar("SELECT body || notes FROM drafts").fetch_all(&pool).await.unwrap();
        assert!(kept.len() == 1 && !kept[0].contains("hunter2"), "{step} {typed:?}: {kept:?}");
        // What was not refused is there when one comes back.
        if step == "options" {
            assert!(visitor.see(&format!("{draft}/options")).await.1.contains("kept=yes"), "{kept:?}");
        }
    }
    pool.close().await;
}

async fn rename(visitor: &Visitor<'_>, draft: &str, name: &str) {
    let path = format!("{draft}/name");
    let page = visitor.get(&path).await.text().await.unwrap();
    send(visitor, &path, &page, &[("go", "next"), ("name", name)]).await;
}

/// And a plain secret is refused at its field, by the code that the API uses.
#[tokio::test]
async fn every_secret_service_is_offered_with_the_shape_of_its_references() {
    let house = House::open(Kind::Sqlite).await;
    let visitor = signed_in(&house).await;
    let (agent, token) = house.agent("north").await;
    house.hello(&token).await;
    let draft = new_draft(&visitor, &agent).await;
    for step in ["source", "target"] {
        let page = visitor.get(&format!("{draft}/{step}")).await.text().await.unwrap();
        let shapes = [
            ("env", "the variable"),
            ("file", "the path"),
            ("aws_secrets_manager", "full ARN"),
            ("azure_key_vault", "https://VAULT.vault.azure.net/secrets/NAME"),
            ("google_secret_manager", "projects/PROJECT/secrets/NAME"),
            ("hashicorp_vault", "MOUNT/PATH"),
        ];
        for (word, shape) in shapes {
            assert!(page.contains(&format!("data-key=\"{word}\"")) && page.contains(shape), "{step} {word}: {page}");
        }
    }
    let target = format!("{draft}/target");
    let token = visitor.token().await;
    let plain =
        [("token", token.as_str()), ("type", "s3"), ("bucket", "b"), ("tags", "password=hunter2"), ("go", "next")];
    let page = visitor.post(&target, &plain).await;
    assert_eq!(page.status(), StatusCode::BAD_REQUEST);
    let page = page.text().await.unwrap();
    assert!(page.contains("id=\"e-tags\"") && page.contains("secret"), "{page}");
}
