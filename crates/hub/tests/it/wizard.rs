//! The wizard by a browser without JavaScript: what an edit leaves as it is, what the agent's answers become, and the
//! pages beside it: revisions, restart, the agent's own.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, Kind, agent, on_both_databases, pipeline};
use crate::visitor::Visitor;

on_both_databases!(
    an_edit_that_changes_nothing_leaves_every_kind_of_pipeline_as_it_is,
    what_was_refused_is_shown_again_and_a_secret_in_it_is_kept_nowhere,
    what_the_agent_finds_at_the_source_is_shown_with_its_cures,
    tables_are_chosen_from_ten_thousand_page_by_page,
    a_target_is_tested_alone_and_what_was_chosen_is_created,
    an_older_revision_is_compared_and_rolled_back_to,
    a_restart_and_a_clean_up_are_asked_of_the_agent_after_a_typed_confirmation,
    an_agent_shows_how_it_is_installed_and_which_processes_there_were,
);

/// The text of an attribute, as it was before it was written.
fn plain(text: &str) -> String {
    let marks = [("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&")];
    marks.iter().fold(text.to_owned(), |text, (mark, letter)| text.replace(mark, letter))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next().map(plain)
}

/// What a browser would send of the first form in `main`: every field as it stands there.
pub(crate) fn form(page: &str) -> Vec<(String, String)> {
    let main = page.split_once("<main").expect("a page has a main part").1;
    // What stands in a template is none of the form's until a script puts it there.
    let shown =
        |part: &str| part.split_once("</template>").map_or_else(|| part.to_owned(), |(_, rest)| rest.to_owned());
    let main: String = main.split("<template").map(shown).collect();
    let mut fields = Vec::new();
    for (at, _) in main.match_indices('<') {
        let rest = &main[at..];
        let tag = rest.split_once('>').map_or(rest, |(tag, _)| tag);
        let Some(name) = attribute(tag, "name") else { continue };
        if tag.starts_with("<input") {
            let kind = attribute(tag, "type").unwrap_or_default();
            if !matches!(kind.as_str(), "checkbox" | "radio") || tag.contains(" checked") {
                fields.push((name, attribute(tag, "value").unwrap_or_else(|| "on".into())));
            }
        } else if tag.starts_with("<textarea") {
            let text = rest[tag.len() + 1..].split("</textarea>").next().unwrap_or_default();
            // A browser drops the line break that begins it.
            fields.push((name, plain(text.strip_prefix('\n').unwrap_or(text))));
        } else if tag.starts_with("<select") {
            let options = rest.split("</select>").next().unwrap_or_default();
            let chosen = options.split("<option").skip(1).find(|option| option.contains(" selected"));
            let first = options.split("<option").nth(1);
            let option = chosen.or(first).map(|option| format!("<option{option}")).unwrap_or_default();
            fields.push((name, attribute(&option, "value").unwrap_or_default()));
        }
    }
    fields
}

/// Opens a step, sends its form as it is with one button, and says where that leads.
pub(crate) async fn through(visitor: &Visitor<'_>, path: &str, go: &str) -> String {
    let page = visitor.get(path).await.text().await.unwrap();
    send(visitor, path, &page, &[("go", go)]).await
}

/// Sends a page's form with some fields more.
pub(crate) async fn send(visitor: &Visitor<'_>, path: &str, page: &str, more: &[(&str, &str)]) -> String {
    let fields = form(page);
    let all = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> =
        all.filter(|(name, _)| more.iter().all(|(other, _)| other != name)).chain(more.iter().copied()).collect();
    let answer = visitor.post(path, &all).await;
    let status = answer.status();
    let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
    let text = answer.text().await.unwrap();
    assert_eq!(status, StatusCode::SEE_OTHER, "{path} {all:?}: {text}");
    to.unwrap()
}

pub(crate) async fn signed_in(house: &House) -> Visitor<'_> {
    let mut visitor = Visitor::new(house);
    visitor.sign_in().await;
    visitor
}

/// A new draft that edits this pipeline.
async fn edit(visitor: &Visitor<'_>, id: &str) -> String {
    let token = visitor.token().await;
    let answer = visitor.post(&format!("/pipelines/{id}/edit"), &[("token", &token)]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let to = answer.headers()["location"].to_str().unwrap();
    to.strip_suffix("/review").unwrap().to_owned()
}

async fn an_edit_that_changes_nothing_leaves_every_kind_of_pipeline_as_it_is(house: House) {
    let visitor = signed_in(&house).await;
    let secret = json!({"secretType": "aws_secrets_manager", "secretName": "a/b", "key": "k"});
    let mysql = json!({"type": "mysql", "connection": {"host": "h", "port": 3306, "username": " u ", "password": secret},
        "tables": [{"schema": "z.y", "table": "b"}, {"schema": "a", "table": "c\"d"}]});
    let odd = json!({"type": "postgres", "connection": {"host": "h", "port": 1, "database": " d", "username": "u",
        "jdbcProperties": {"ssl": "false", "kept": "as it is"}}, "tables": [{"schema": "z", "table": "*"}, {"schema": "a.b", "table": "c.d"}]});
    let s3 = json!({"type": "s3", "bucket": "b", "prefix": "", "tags": {"a": "b"}});
    let bare = json!({"type": "local", "path": "/lake"});
    let full_s3 = json!({"type": "s3", "bucket": "b", "prefix": " raw/x/", "region": "eu-west-1", "endpoint": "https://store:9000",
        "pathStyle": false, "kmsKeyId": "alias/lake", "storageClass": "STANDARD_IA", "requesterPays": true,
        "tags": {"team": "data", "a=b": "c", "empty": ""}, "roleArn": "arn:aws:iam::1:role/lake", "externalId": " x ",
        "format": "json", "compression": "gzip"});
    let no_tags = json!({"type": "s3", "bucket": "b", "tags": {}});
    let key = json!({"secretType": "hashicorp_vault", "secretName": "secret/lake?version=2", "key": "key"});
    let abs = json!({"type": "abs", "container": "c", "accountName": "acme", "accountKey": key, "endpoint": "http://127.0.0.1:1/acme"});
    let own_identity =
        json!({"type": "abs", "container": "c", "accountName": "acme", "prefix": "", "decimalMapping": "legacy"});
    let gcs = json!({"type": "gcs", "bucket": "b", "prefix": "x", "kmsKeyName": "projects/p", "storageClass": "NEARLINE",
        "userProject": "pay", "endpoint": "https://gcs", "layout": "flat"});
    let snowflake = json!({"type": "snowflake", "connection": {"accountName": "a", "username": "u",
        "authentication": {"type": "key-pair", "privateKey": secret}}, "role": "r", "warehouse": "w", "database": "d",
        "stageSchema": "s", "stageName": "n", "tableSchema": "t", "tablePrefixType": "none", "transformationType": "copy_table"});
    let legacy = json!({"type": "local", "path": "/lake/", "prefix": "", "format": "avro", "layout": "envelope",
        "compression": "deflate", "decimalMapping": "logical"});
    let properties = [
        Value::Null,
        json!({}),
        json!({"snapshot.mode": "when_needed", "commit.interval": " 1s", "a=b": "c", "lines": "one\ntwo", "plain": "x"}),
    ];
    let postgres = pipeline("p", "x")["streamingSource"].clone();
    let local = pipeline("p", "x")["streamingTarget"].clone();
    let mut pairs =
        vec![(&mysql, &s3), (&odd, &bare), (&postgres, &legacy), (&postgres, &local), (&mysql, &local), (&odd, &s3)];
    pairs.extend([&full_s3, &no_tags, &abs, &own_identity, &gcs, &snowflake].map(|target| (&postgres, target)));
    for (number, (source, target)) in pairs.into_iter().enumerate() {
        let name = format!("p{number}");
        let agent = house.new_agent(&name).await;
        let mut body = json!({"name": name, "agentId": agent, "streamingSource": source, "streamingTarget": target});
        let more = &properties[number % properties.len()];
        if !more.is_null() {
            body["advancedProperties"] = more.clone();
        }
        let created = house.expect(201, Method::POST, &house.pipelines(), Some(body)).await;
        let id = created["streamingPipelineId"].as_str().unwrap();
        let draft = edit(&visitor, id).await;
        for step in ["name", "source", "tables", "target", "options"] {
            through(&visitor, &format!("{draft}/{step}"), "next").await;
        }
        let review = visitor.get(&format!("{draft}/review")).await.text().await.unwrap();
        assert!(review.contains("Nothing yet."), "{source} {target}: {review}");
        let saved = through(&visitor, &format!("{draft}/review"), "create").await;
        assert_eq!(saved, format!("/pipelines/{id}"));
        assert_eq!(house.get(&format!("{}/{id}", house.pipelines())).await, created);
    }
}

/// What is wanted of the agent: the newest command.
async fn command(house: &House, (token, session): (&str, &str)) -> Value {
    let told = house.sync(token, session, json!({})).await;
    told["commands"].as_array().and_then(|all| all.last()).cloned().expect("a command was sent")
}

async fn answer(house: &House, (token, session): (&str, &str), id: &Value, done: bool, result: Value) {
    let results = json!({"results": [{"id": id, "done": done, "result": result}]});
    house.sync(token, session, results).await;
}

/// A new draft, its source filled in: its address.
pub(crate) async fn new_draft(visitor: &Visitor<'_>, agent: &str) -> String {
    let page = visitor.get("/pipelines/new").await.text().await.unwrap();
    let source = send(visitor, "/pipelines/new", &page, &[("name", "shop"), ("agentId", agent)]).await;
    let page = visitor.get(&source).await.text().await.unwrap();
    let typed = [("host", "db"), ("database", "shop"), ("username", "u"), ("secretName", "SHOP_PASSWORD")];
    let test = send(visitor, &source, &page, &typed).await;
    test.strip_suffix("/test").unwrap().to_owned()
}

async fn what_was_refused_is_shown_again_and_a_secret_in_it_is_kept_nowhere(house: House) {
    let visitor = signed_in(&house).await;
    let (agent, token) = house.agent("north").await;
    house.hello(&token).await;
    let draft = new_draft(&visitor, &agent).await;
    let source = format!("{draft}/source");
    let pool = house.database().await;
    for (host, port) in [("http://u:secretpw@host/x", "99999"), ("u:secretpw@host", "5432"), ("db", "99999")] {
        let fields = [("host", host), ("port", port), ("database", "shop"), ("username", "u"), ("sslmode", "prefer")];
        let (status, page) = visitor.send(&source, &[&fields[..], &[("go", "next")]].concat()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{host}:{port}");
        let shown = form(&page);
        let of = |name: &str| shown.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        assert_eq!((of("host"), of("port")), (Some(host), Some(port)));
        let kept: String =
            sqlx::Row::get(&sqlx::query("SELECT body FROM drafts").fetch_one(&pool).await.unwrap(), "body");
        assert!(!kept.contains("secretpw"), "{kept}");
    }
    // What is only wrong is still there when one comes back, and so is the host from before.
    let shown = form(&visitor.see(&source).await.1);
    for (name, value) in [("host", "db"), ("port", "99999")] {
        assert!(shown.contains(&(name.to_owned(), value.to_owned())), "{shown:?}");
    }
}

async fn what_the_agent_finds_at_the_source_is_shown_with_its_cures(house: House) {
    let visitor = signed_in(&house).await;
    let (agent, token) = house.agent("north").await;
    let session = house.hello(&token).await;
    let process = (token.as_str(), session.as_str());
    let test = new_draft(&visitor, &agent).await + "/test";
    // Asked of the agent: the source, and nothing that nobody has typed.
    through(&visitor, &test, "test").await;
    let asked = command(&house, process).await;
    assert_eq!(asked["kind"], "check");
    let spec = &asked["arguments"]["spec"];
    let members: Vec<&String> = spec.as_object().unwrap().keys().collect();
    assert_eq!(members, ["name", "streamingSource"], "{spec}");
    assert_eq!(spec["streamingSource"]["tables"], Value::Null);
    let page = visitor.get(&test).await.text().await.unwrap();
    assert!(page.contains("The agent is looking"), "{page}");
    let finding = json!({"code": "PG-007", "severity": "error", "subject": "wal_level", "message": "it is replica",
        "cure": "set it"});
    answer(&house, process, &asked["id"], true, json!({"ok": false, "findings": [finding]})).await;
    let page = visitor.get(&test).await.text().await.unwrap();
    assert!(page.contains("does not work yet") && page.contains("PG-007") && page.contains("Set it"), "{page}");
    // An agent that has gone answers nothing, and that is said at once.
    through(&visitor, &test, "test").await;
    house.clock.advance(std::time::Duration::from_mins(1));
    let page = visitor.get(&test).await.text().await.unwrap();
    assert!(page.contains("The agent is not connected"), "{page}");
    house.clock.advance(std::time::Duration::from_mins(5));
    let page = visitor.get(&test).await.text().await.unwrap();
    assert!(page.contains("did not answer within five minutes"), "{page}");
}

/// What an agent says of ten thousand tables; one of them cannot be carried.
fn ten_thousand() -> Value {
    let no_key = json!([{"code": "PG-017", "severity": "warning", "message": "has no key"}]);
    let table = |number: u64| {
        json!({"schema": format!("s{}", number % 2), "table": format!("t{number:05}"), "key": ["id"],
            "rows_estimate": 1_234_567, "bytes": 8192, "findings": if number == 7 { no_key.clone() } else { json!([]) }})
    };
    json!({"tables": (0..10_000).map(table).collect::<Vec<_>>(), "total": 10_000})
}

async fn tables_are_chosen_from_ten_thousand_page_by_page(house: House) {
    let visitor = signed_in(&house).await;
    let (agent, token) = house.agent("north").await;
    let session = house.hello(&token).await;
    let process = (token.as_str(), session.as_str());
    let test = new_draft(&visitor, &agent).await + "/test";
    let tables = through(&visitor, &test, "next").await;
    let asked = command(&house, process).await;
    assert_eq!((&asked["kind"], &asked["arguments"]["columns"]), (&json!("discover"), &json!(false)));
    answer(&house, process, &asked["id"], true, ten_thousand()).await;
    let page = visitor.get(&tables).await.text().await.unwrap();
    assert!(page.contains("page 1 of 100") && page.contains("1,234,567"), "{page}");
    assert_eq!(page.matches("name=\"shown\"").count(), 100);
    let next = send(&visitor, &tables, &page, &[("go", "all")]).await;
    let page = visitor.get(&next).await.text().await.unwrap();
    assert!(page.contains("100 chosen"), "{page}");
    // A search over all of them; what is not shown stays chosen.
    let next = send(&visitor, &tables, &page, &[("go", "search"), ("q", "T0000"), ("schema", "s1")]).await;
    let page = visitor.get(&next).await.text().await.unwrap();
    assert!(page.contains("5 tables") && page.contains("Not as it is:") && page.contains("100 chosen"), "{page}");
    let next = send(&visitor, &tables, &page, &[("go", "found")]).await;
    let page = visitor.get(&next).await.text().await.unwrap();
    assert!(page.contains("104 chosen"), "what cannot be carried is left out: {page}");
    let token = visitor.token().await;
    let wrong = [("go", "next"), ("more", "nothing"), ("token", token.as_str())];
    assert_eq!(visitor.post(&tables, &wrong).await.status(), StatusCode::BAD_REQUEST);
}

async fn a_target_is_tested_alone_and_what_was_chosen_is_created(house: House) {
    let visitor = signed_in(&house).await;
    let (agent, token) = house.agent("north").await;
    let session = house.hello(&token).await;
    let process = (token.as_str(), session.as_str());
    let draft = new_draft(&visitor, &agent).await;
    let tables = format!("{draft}/tables");
    let page = visitor.get(&tables).await.text().await.unwrap();
    let more = "sales.orders\nother.*\n";
    let target = send(&visitor, &tables, &page, &[("go", "next"), ("more", more)]).await;
    let page = visitor.get(&target).await.text().await.unwrap();
    let again = send(&visitor, &target, &page, &[("go", "test"), ("path", "/lake")]).await;
    assert_eq!(again, target);
    let asked = command(&house, process).await;
    let spec = asked["arguments"]["spec"].as_object().unwrap();
    assert!(spec.contains_key("streamingTarget") && !spec.contains_key("streamingSource"), "{spec:?}");
    let why = json!({"code": "policy", "message": "not `/lake`", "cure": "widen it", "fault": "AG-009"});
    answer(&house, process, &asked["id"], false, why).await;
    let page = visitor.get(&target).await.text().await.unwrap();
    assert!(page.contains("Not /lake") && page.contains("Widen it") && page.contains("AG-009"), "{page}");
    let options = send(&visitor, &target, &page, &[("go", "next")]).await;
    let review = through(&visitor, &options, "next").await;
    let done = through(&visitor, &review, "start").await;
    let made = house.get(&format!("{}/{}", house.pipelines(), done.rsplit('/').next().unwrap())).await;
    let chosen = json!([{"schema": "sales", "table": "orders"}, {"schema": "other", "table": "*"}]);
    assert_eq!(made["streamingSource"]["tables"], chosen);
    let folder = json!({"type": "local", "path": "/lake", "format": "avro", "layout": "envelope"});
    assert_eq!(made["streamingTarget"], folder);
}

async fn an_older_revision_is_compared_and_rolled_back_to(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    let first = house.get(&path).await;
    house.expect(200, Method::PUT, &path, Some(pipeline("renamed", &agent))).await;
    let visitor = signed_in(&house).await;
    let page = visitor.get(&format!("/pipelines/{id}/revisions")).await.text().await.unwrap();
    assert!(page.contains("<code>name: shop</code>") && page.contains("<code>name: renamed</code>"), "{page}");
    let rollback = format!("{path}/rollback");
    for (body, field) in
        [(json!({}), "revision"), (json!({"revision": 9}), "revision"), (json!({"revision": 2}), "revision")]
    {
        let problem = house.expect(400, Method::POST, &rollback, Some(body)).await;
        assert_eq!(crate::house::fields(&problem), [field], "{problem}");
    }
    assert_eq!(house.expect(200, Method::POST, &rollback, Some(json!({"revision": 1}))).await, first);
    let revisions = house.get(&format!("{path}/revisions")).await;
    assert_eq!((&revisions["total"], &revisions["results"][0]["revision"]), (&json!(3), &json!(3)), "{revisions}");
    // The console's button does the same, and says so under Activity.
    let token = visitor.token().await;
    let form = [("token", token.as_str()), ("revision", "2")];
    assert_eq!(visitor.post(&format!("/pipelines/{id}/rollback"), &form).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(house.get(&path).await["name"], "renamed");
    assert!(visitor.get("/activity").await.text().await.unwrap().contains("renamed"));
}

async fn a_restart_and_a_clean_up_are_asked_of_the_agent_after_a_typed_confirmation(house: House) {
    let (agent, token) = house.agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    let session = house.hello(&token).await;
    let process = (token.as_str(), session.as_str());
    let visitor = signed_in(&house).await;
    let restart = format!("/pipelines/{id}/restart");
    let page = visitor.get(&restart).await.text().await.unwrap();
    assert!(page.contains("leave the lake") && page.contains("value=\"public.orders\""), "{page}");
    let form_token = visitor.token().await;
    let wrong = [("token", form_token.as_str()), ("which", "some"), ("confirmation", "shopp")];
    let answer_page = visitor.post(&restart, &wrong).await;
    assert_eq!(answer_page.status(), StatusCode::BAD_REQUEST);
    let commands =
        send(&visitor, &restart, &page, &[("which", "some"), ("table", "public.orders"), ("confirmation", "shop")])
            .await;
    let asked = command(&house, process).await;
    assert_eq!((&asked["kind"], &asked["arguments"]["tables"]), (&json!("restart"), &json!(["public.orders"])));
    answer(&house, process, &asked["id"], true, json!({"commit": 9, "removed": 3, "new_slot": false})).await;
    let page = visitor.get(&commands).await.text().await.unwrap();
    assert!(page.contains("Restart of public.orders") && page.contains("3 files left the lake"), "{page}");

    let delete = format!("/pipelines/{id}/delete");
    let page = visitor.get(&delete).await.text().await.unwrap();
    let told = send(&visitor, &delete, &page, &[("confirmation", "shop")]).await;
    assert_eq!(told, format!("/agents/{agent}/commands"));
    let asked = command(&house, process).await;
    assert_eq!(asked["kind"], "cleanup");
    answer(&house, process, &asked["id"], false, json!({"code": "busy", "message": "it runs", "cure": "stop it"}))
        .await;
    let page = visitor.get(&told).await.text().await.unwrap();
    assert!(page.contains("It runs") && page.contains("Not done") && page.contains("Stop it"), "{page}");
}

async fn an_agent_shows_how_it_is_installed_and_which_processes_there_were(house: House) {
    let (id, token) = house.agent("north").await;
    let credentials = house.get(&format!("/agents/{id}/credentials")).await;
    let secret = credentials["clientSecret"].as_str().unwrap();
    let visitor = signed_in(&house).await;
    for format in ["", "env", "docker", "fargate", "eks", "aks", "gke", "aci", "gce"] {
        let query = if format.is_empty() { String::new() } else { format!("?format={format}") };
        let answer = house.call(Method::GET, &format!("/agents/{id}/install{query}"), None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{format}");
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
        let text = answer.text().await.unwrap();
        assert!(text.contains(&id) && text.contains("HUB_URL") && !text.contains(secret), "{format}: {text}");
        let page = visitor.get(&format!("/agents/{id}/install{query}")).await.text().await.unwrap();
        assert!(page.contains(&id) && !page.contains(secret), "{format}");
    }
    house.expect(400, Method::GET, &format!("/agents/{id}/install?format=vm"), None).await;
    let allowlist = visitor.get(&format!("/agents/{id}/allowlist")).await.text().await.unwrap();
    assert!(allowlist.contains("<code>127.0.0.1</code>") && allowlist.contains("allowedHosts"), "{allowlist}");

    let session = house.hello(&token).await;
    let rival = json!({"protocol": 1, "instance": "two", "agentVersion": "0.1.0", "platform": {"host": "far"}});
    assert_eq!(house.gateway(&token, "session", rival).await.0, 409);
    let instances = format!("/agents/{id}/instances");
    let seen = visitor.get(&instances).await.text().await.unwrap();
    assert!(seen.contains("Has the lease") && seen.contains("Refused") && seen.contains(">far<"), "{seen}");
    house.gateway(&token, "goodbye", json!({"sessionId": session, "reason": "stopped"})).await;
    let seen = visitor.get(&instances).await.text().await.unwrap();
    assert!(seen.contains("said goodbye: stopped"), "{seen}");
}

/// Only those may who may create a pipeline.
#[tokio::test]
async fn a_viewer_can_neither_begin_nor_restart() {
    let house = House::open(Kind::Sqlite).await;
    let id = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &id).await;
    house.use_token(&house.client("viewer", true).await.token);
    house.expect(403, Method::POST, &format!("{path}/rollback"), Some(json!({"revision": 1}))).await;
    house.expect(403, Method::POST, "/agents", Some(agent("south"))).await;
    house.get(&format!("/agents/{id}/install")).await;
}
