//! `/projects/{p}/streaming-pipelines`: each row of the contract that does not run anything.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::house::{House, fields, on_both_databases, pipeline};

on_both_databases!(
    post_answers_201_with_the_whole_pipeline,
    every_type_of_source_and_target_is_read_back_as_it_was_sent,
    words_are_read_back_in_lower_case,
    what_was_absent_stays_absent_and_what_was_empty_stays_empty,
    put_replaces_everything_and_what_it_lacks_is_gone,
    put_may_repeat_the_id_and_not_change_it,
    put_to_another_agent_is_taken_unless_that_one_has_a_pipeline,
    an_unknown_agent_is_400_with_a_violation,
    an_agent_has_one_pipeline_and_a_name_is_taken_once_in_a_project,
    delete_answers_204_and_name_and_agent_are_free,
    the_list_is_by_creation_in_pages,
    everything_that_is_wrong_is_said_at_once_with_its_path,
    a_plain_secret_is_refused_and_stored_nowhere,
    a_name_has_1_to_255_characters_of_any_kind,
    what_is_not_there_is_404,
    another_account_sees_none_of_it,
    an_agent_that_is_removed_leaves_its_pipeline_behind,
    puts_at_the_same_time_are_one_after_the_other,
);

fn without_id(mut read: Value) -> Value {
    read.as_object_mut().map(|read| read.remove("streamingPipelineId"));
    read
}

async fn post_answers_201_with_the_whole_pipeline(house: House) {
    let agent = house.new_agent("north").await;
    let sent = pipeline("shop", &agent);
    let created = house.expect(201, Method::POST, &house.pipelines(), Some(sent.clone())).await;
    let id = created["streamingPipelineId"].as_str().unwrap();
    assert!(uuid::Uuid::try_parse(id).is_ok() && id.len() == 36, "{id}");
    assert_eq!(house.get(&format!("{}/{id}", house.pipelines())).await, created);
    assert_eq!(without_id(created), sent);
}

async fn every_type_of_source_and_target_is_read_back_as_it_was_sent(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let secret = json!({"secretType": "hashicorp_vault", "secretName": "a/b", "key": "k"});
    let connection = |names: &[&str]| -> Value {
        let mut connection: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), json!(format!(" {name}\\ ")))).collect();
        connection.insert("host".into(), json!("Db-1.example.COM"));
        connection.insert("port".into(), json!(1521));
        connection.insert("password".into(), secret.clone());
        connection.insert("jdbcProperties".into(), json!({"ssl": "require", "Z": "1", "A": ""}));
        connection.into()
    };
    let sources = [
        ("postgres", connection(&["database", "username"])),
        ("sqlserver", connection(&["database", "username"])),
        ("mysql", connection(&["username"])),
        ("db2ibmi", connection(&["username"])),
        ("oracle", connection(&["database", "pdb", "username"])),
    ];
    let targets = [
        json!({"type": "s3", "bucket": "b", "prefix": "/a//b/", "decimalMapping": "legacy"}),
        json!({"type": "abs", "container": "c", "accountName": "n", "accountKey": secret}),
        json!({"type": "gcs", "bucket": "b"}),
        json!({"type": "snowflake", "connection": {"accountName": "a", "username": "u", "authentication":
            {"type": "key-pair", "privateKey": secret}, "jdbcProperties": {}}, "role": "r", "warehouse": "w",
            "database": "d", "stageSchema": "s", "stageName": "n", "stagePrefix": "", "tableSchema": "t",
            "tablePrefixType": "none", "transformationType": "change_log", "temporalMapping": "native"}),
    ];
    for (kind, connection) in &sources {
        for target in &targets {
            let tables = json!([{"schema": "Z", "table": "z z"}, {"schema": "a", "table": "b"}]);
            let sent = json!({"name": "shop", "agentId": agent, "streamingTarget": target,
                "streamingSource": {"type": kind, "connection": connection, "tables": tables},
                "advancedProperties": {"snapshot.mode": "when_needed", "no.meaning": "kept", "": ""}});
            assert_eq!(without_id(house.expect(200, Method::PUT, &path, Some(sent.clone())).await), sent);
            assert_eq!(without_id(house.get(&path).await), sent);
        }
    }
}

async fn words_are_read_back_in_lower_case(house: House) {
    let agent = house.new_agent("north").await;
    let mut sent = pipeline("Shop", &agent);
    let expected = sent.clone();
    sent["streamingSource"]["type"] = json!("Postgres");
    sent["streamingSource"]["connection"]["password"]["secretType"] = json!("ENV");
    sent["streamingTarget"]["type"] = json!("LOCAL");
    sent["streamingTarget"]["format"] = json!("Parquet");
    let created = house.expect(201, Method::POST, &house.pipelines(), Some(sent)).await;
    assert_eq!(without_id(created), expected);
}

async fn what_was_absent_stays_absent_and_what_was_empty_stays_empty(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    assert_eq!(house.get(&path).await["streamingTarget"]["prefix"], "");
    let mut sent = pipeline("shop", &agent);
    sent["advancedProperties"] = json!({});
    sent["streamingSource"]["connection"]["jdbcProperties"] = json!({});
    let expected = sent.clone();
    sent["streamingTarget"]["compression"] = Value::Null;
    sent["streamingSource"]["connection"]["jdbcProperties"]["x"] = Value::Null;
    assert_eq!(without_id(house.expect(200, Method::PUT, &path, Some(sent)).await), expected);
}

async fn put_replaces_everything_and_what_it_lacks_is_gone(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let mut sent = pipeline("shop", &agent);
    sent["advancedProperties"] = json!({"commit.interval": "1s"});
    house.expect(200, Method::PUT, &path, Some(sent)).await;
    let next = json!({"name": "other", "agentId": agent,
        "streamingSource": {"type": "mysql", "connection": {"host": "h", "port": 3306, "username": "u"},
            "tables": [{"schema": "s", "table": "t"}]},
        "streamingTarget": {"type": "gcs", "bucket": "b"}});
    let id = path.rsplit('/').next().unwrap();
    let replaced = house.expect(200, Method::PUT, &path, Some(next.clone())).await;
    assert_eq!(replaced["streamingPipelineId"], id);
    assert_eq!(without_id(replaced), next);
    let mut partial = next;
    partial.as_object_mut().unwrap().remove("streamingTarget");
    assert_eq!(fields(&house.expect(400, Method::PUT, &path, Some(partial)).await), ["streamingTarget"]);
}

async fn put_may_repeat_the_id_and_not_change_it(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let read = house.get(&path).await;
    assert_eq!(house.expect(200, Method::PUT, &path, Some(read.clone())).await, read);
    let mut other = read;
    other["streamingPipelineId"] = json!(agent);
    assert_eq!(fields(&house.expect(400, Method::PUT, &path, Some(other.clone())).await), ["streamingPipelineId"]);
    assert_eq!(
        fields(&house.expect(400, Method::POST, &house.pipelines(), Some(other)).await),
        ["streamingPipelineId"]
    );
}

async fn put_to_another_agent_is_taken_unless_that_one_has_a_pipeline(house: House) {
    let (one, two, three) =
        (house.new_agent("one").await, house.new_agent("two").await, house.new_agent("three").await);
    let path = house.new_pipeline("shop", &one).await;
    house.new_pipeline("bank", &two).await;
    let problem = house.expect(409, Method::PUT, &path, Some(pipeline("shop", &two))).await;
    assert_eq!(problem["code"], "agent_taken");
    assert_eq!(house.get(&path).await["agentId"], json!(one));
    house.expect(200, Method::PUT, &path, Some(pipeline("shop", &three))).await;
    assert_eq!(house.get(&path).await["agentId"], json!(three));
    house.new_pipeline("third", &one).await;
}

async fn an_unknown_agent_is_400_with_a_violation(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let stranger = house.client("owner", false).await;
    let owner = house.token();
    house.use_token(&stranger.token);
    let foreign = house.new_agent("foreign").await;
    house.use_token(&owner);
    let removed = house.new_agent("removed").await;
    house.expect(202, Method::DELETE, &format!("/agents/{removed}"), None).await;
    for id in [foreign.as_str(), &removed, "x", "\u{0}", &uuid::Uuid::new_v4().to_string()] {
        let refused = house.expect(400, Method::POST, &house.pipelines(), Some(pipeline("bank", id))).await;
        assert_eq!(fields(&refused), ["agentId"], "{id:?}");
        let refused = house.expect(400, Method::PUT, &path, Some(pipeline("shop", id))).await;
        assert_eq!(fields(&refused), ["agentId"], "{id:?}");
    }
}

async fn an_agent_has_one_pipeline_and_a_name_is_taken_once_in_a_project(house: House) {
    let (one, two) = (house.new_agent("one").await, house.new_agent("two").await);
    house.new_pipeline("shop", &one).await;
    let problem = house.expect(409, Method::POST, &house.pipelines(), Some(pipeline("bank", &one))).await;
    assert_eq!(problem["code"], "agent_taken");
    let problem = house.expect(409, Method::POST, &house.pipelines(), Some(pipeline("shop", &two))).await;
    assert_eq!(problem["code"], "name_taken");
    let path = house.new_pipeline("bank", &two).await;
    let problem = house.expect(409, Method::PUT, &path, Some(pipeline("shop", &two))).await;
    assert_eq!(problem["code"], "name_taken");
    house.expect(200, Method::PUT, &path, Some(pipeline("Shop", &two))).await;
}

async fn delete_answers_204_and_name_and_agent_are_free(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    house.expect(204, Method::DELETE, &path, None).await;
    for method in [Method::GET, Method::DELETE] {
        house.expect(404, method, &path, None).await;
    }
    house.expect(404, Method::PUT, &path, Some(pipeline("shop", &agent))).await;
    house.expect(404, Method::GET, &format!("{path}/status"), None).await;
    house.expect(404, Method::POST, &format!("{path}/commands"), Some(json!({"command": "START"}))).await;
    assert_eq!(house.get(&house.pipelines()).await["total"], 0);
    house.new_pipeline("shop", &agent).await;
}

async fn the_list_is_by_creation_in_pages(house: House) {
    let mut paths = Vec::new();
    for name in ["c", "a", "b"] {
        let agent = house.new_agent(name).await;
        paths.push(house.new_pipeline(name, &agent).await);
    }
    let list = house.get(&house.pipelines()).await;
    assert_eq!((&list["page"], &list["size"], &list["total"]), (&json!(0), &json!(25), &json!(3)));
    for (result, path) in list["results"].as_array().unwrap().iter().zip(&paths) {
        assert_eq!(result, &house.get(path).await);
    }
    let page = house.get(&format!("{}?page=1&size=2", house.pipelines())).await;
    assert_eq!(page["results"], json!([list["results"][2]]));
    let past = house.get(&format!("{}?page=7&size=2", house.pipelines())).await;
    assert_eq!((&past["results"], &past["total"]), (&json!([]), &json!(3)));
}

async fn everything_that_is_wrong_is_said_at_once_with_its_path(house: House) {
    let mut sent = pipeline("", "");
    sent["streamingSource"]["connection"]["port"] = json!("5432");
    sent["streamingSource"]["tables"] = json!([]);
    sent["streamingTarget"]["bucket"] = json!("b");
    sent["status"] = json!("RUNNING");
    let refused = house.expect(400, Method::POST, &house.pipelines(), Some(sent)).await;
    let mut fields = fields(&refused);
    fields.sort_unstable();
    let expected = [
        "agentId",
        "name",
        "status",
        "streamingSource.connection.port",
        "streamingSource.tables",
        "streamingTarget.bucket",
    ];
    assert_eq!(fields, expected);
}

async fn a_plain_secret_is_refused_and_stored_nowhere(house: House) {
    let agent = house.new_agent("north").await;
    let (properties, advanced) = ("/streamingSource/connection/jdbcProperties", "/advancedProperties");
    for (place, name, value) in [
        ("/streamingSource/connection", "password", "s3cret"),
        (properties, "sslpassword", "s3cret"),
        (properties, "socksProxyPass", "s3cret"),
        (properties, "url", "jdbc:postgresql://u:s3cret@h/d"),
        (properties, "options", "-c password=s3cret"),
        (advanced, "database.password", "s3cret"),
        (advanced, "pwd", "s3cret"),
        (advanced, "credentials", "s3cret"),
        (advanced, "sasl.jaas.config", "PlainLoginModule required username=\"u\" password=\"s3cret\";"),
    ] {
        let mut sent = pipeline("shop", &agent);
        sent["advancedProperties"] = json!({});
        sent["streamingSource"]["connection"]["jdbcProperties"] = json!({});
        sent.pointer_mut(place).unwrap()[name] = json!(value);
        let refused = house.expect(400, Method::POST, &house.pipelines(), Some(sent)).await;
        assert!(fields(&refused)[0].ends_with(name) && !refused.to_string().contains("s3cret"), "{refused}");
        assert!(refused.to_string().contains("secretType"), "{refused}");
    }
    assert_eq!(house.get(&house.pipelines()).await["total"], 0);
}

async fn a_name_has_1_to_255_characters_of_any_kind(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    for name in ["☃".repeat(255).as_str(), " . ", "a\u{0}b", "a\\0b", "%/?#"] {
        house.expect(200, Method::PUT, &path, Some(pipeline(name, &agent))).await;
        assert_eq!(house.get(&path).await["name"], name);
    }
    for name in [String::new(), "x".repeat(256)] {
        let refused = house.expect(400, Method::PUT, &path, Some(pipeline(&name, &agent))).await;
        assert_eq!(fields(&refused), ["name"]);
    }
}

async fn what_is_not_there_is_404(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let id = path.rsplit('/').next().unwrap();
    let unknown = uuid::Uuid::new_v4();
    let elsewhere = format!("/projects/{unknown}/streaming-pipelines");
    house.expect(404, Method::GET, &elsewhere, None).await;
    house.expect(404, Method::POST, &elsewhere, Some(pipeline("bank", &agent))).await;
    for path in
        [format!("{elsewhere}/{id}"), format!("{}/{unknown}", house.pipelines()), format!("{}/%00", house.pipelines())]
    {
        house.expect(404, Method::GET, &path, None).await;
        house.expect(404, Method::PUT, &path, Some(pipeline("bank", &agent))).await;
        house.expect(404, Method::DELETE, &path, None).await;
        house.expect(404, Method::GET, &format!("{path}/status"), None).await;
        house.expect(404, Method::POST, &format!("{path}/commands"), Some(json!({"command": "STOP"}))).await;
    }
}

async fn another_account_sees_none_of_it(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    let stranger = house.client("owner", false).await;
    house.use_token(&stranger.token);
    let own = format!("/projects/{}/streaming-pipelines", stranger.project);
    assert_eq!(house.get(&own).await["total"], 0);
    house.expect(404, Method::GET, &house.pipelines(), None).await;
    for path in [path, format!("{own}/{id}")] {
        house.expect(404, Method::GET, &path, None).await;
        house.expect(404, Method::PUT, &path, Some(pipeline("x", &agent))).await;
        house.expect(404, Method::DELETE, &path, None).await;
        for below in ["status", "events", "revisions"] {
            house.expect(404, Method::GET, &format!("{path}/{below}"), None).await;
        }
        house.expect(404, Method::POST, &format!("{path}/commands"), Some(json!({"command": "START"}))).await;
    }
}

async fn an_agent_that_is_removed_leaves_its_pipeline_behind(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    house.expect(202, Method::DELETE, &format!("/agents/{agent}"), None).await;
    assert_eq!(house.get(&path).await["agentId"], json!(agent));
    house.command(&path, "START").await;
    assert_eq!(house.status(&path).await, ("NOT_RUNNING".into(), "agent_removed".into()));
    // What else it says can be changed meanwhile; a new one cannot be given what is gone.
    let mut changed = pipeline("renamed", &agent);
    changed["streamingTarget"]["prefix"] = json!("other");
    assert_eq!(house.expect(200, Method::PUT, &path, Some(changed)).await["agentId"], json!(agent));
    assert_eq!(house.status(&path).await, ("NOT_RUNNING".into(), "agent_removed".into()));
    let refused = house.expect(400, Method::POST, &house.pipelines(), Some(pipeline("new", &agent))).await;
    assert_eq!(fields(&refused), ["agentId"]);
    // The changed deployment: the same name again, then the PUT.
    let next = house.new_agent("north").await;
    house.expect(200, Method::PUT, &path, Some(pipeline("shop", &next))).await;
    assert_eq!(house.status(&path).await, ("NOT_RUNNING".into(), "waiting_for_agent".into()));
}

async fn puts_at_the_same_time_are_one_after_the_other(house: House) {
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let put = |number: u32| {
        let mut sent = pipeline("shop", &agent);
        sent["advancedProperties"] = json!({"commit.interval": format!("{number}s")});
        house.expect(200, Method::PUT, &path, Some(sent))
    };
    tokio::join!(put(1), put(2), put(3), put(4), put(5), put(6), put(7), put(8), put(9), put(10));
    assert_eq!(house.get(&format!("{path}/revisions")).await["total"], 11);
}
