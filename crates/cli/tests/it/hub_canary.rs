//! What must not be found: values of secrets and of cells, in anything that a hub keeps, says or logs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::hub_house::HubHouse;
use crate::shop::PATIENCE;

const CELL: &str = "canary-cell-9d41";
const DATABASE_SECRET: &str = "canary-secret-40be";

/// Every GET of the document, with what there is in this house.
fn routes(house: &HubHouse, token: &str) -> Vec<String> {
    let (_, document) = house.hub.read("/openapi.json", (token, "")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let checks = format!("/agents/{}/checks", house.agent);
    let asked = json!({"spec": house.body(&house.agent)});
    house.hub.expect(202, Method::POST, &checks, Some(&asked)).unwrap();
    let commands = house.hub.expect(200, Method::GET, "/audit-log?size=100", None).unwrap();
    let command = commands["results"].as_array().unwrap().iter().find(|line| line["action"] == "agent.check").unwrap();
    let command = command["detail"].as_str().unwrap();
    let pipeline = house.pipeline.rsplit('/').next().unwrap();
    let named = |path: &str, id: &str| path.replace("{id}", id);
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_none() || path.ends_with("/credentials") {
            continue;
        }
        let path = path.replace("{project}", &house.hub.project);
        found.push(match path.as_str() {
            path if path.contains("/agents/") => named(path, &house.agent),
            path if path.contains("/streaming-pipelines/") => named(path, pipeline),
            path if path.contains("/commands/") => named(path, command),
            path => path.to_owned(),
        });
    }
    found
}

/// Every page of the console that shows something of an agent, a pipeline, or an account.
fn pages(house: &HubHouse) -> Vec<String> {
    let pipeline = house.pipeline.rsplit('/').next().unwrap();
    let (agent, of) = (format!("/agents/{}", house.agent), format!("/pipelines/{pipeline}"));
    let mut found: Vec<String> = ["/agents", "/pipelines", "/activity", "/people", "/api-clients", "/settings", "/me"]
        .map(str::to_owned)
        .to_vec();
    found.extend(
        ["", "/conditions", "/events", "/edit", "/credentials", "/addresses"].map(|tab| format!("{agent}{tab}")),
    );
    found.extend(["", "/tables", "/events", "/configuration", "/delete"].map(|tab| format!("{of}{tab}")));
    found
}

#[test]
fn no_secret_and_no_cell_is_in_anything_that_the_hub_keeps_says_or_logs() {
    let house = HubHouse::with(|draft| draft.password_from("SHOP_PASSWORD"));
    house.shop.database.sql("CREATE TABLE canaries (id int PRIMARY KEY, t text)").unwrap();
    house.shop.database.sql(&format!("INSERT INTO canaries VALUES (1, '{CELL}')")).unwrap();
    let mut body = house.body(&house.agent);
    body["streamingSource"]["tables"].as_array_mut().unwrap().push(json!({"schema": "public", "table": "canaries"}));
    house.hub.expect(200, Method::PUT, &house.pipeline, Some(&body)).unwrap();
    let process = house.process(&house.agent, "state").env("SHOP_PASSWORD", DATABASE_SECRET).start().unwrap();
    house.wait("STREAMING");
    house.shop.database.sql(&format!("UPDATE canaries SET t = '{CELL}-again'")).unwrap();
    house.shop.wait_until_released();

    let credentials = format!("/agents/{}/credentials", house.agent);
    let revealed = house.hub.expect(200, Method::GET, &credentials, None).unwrap();
    let agent_secret = revealed["clientSecret"].as_str().unwrap().to_owned();
    let (token, cookie) = (house.hub.token().unwrap(), house.hub.sign_in().unwrap());
    let cookie_value = cookie.split('=').nth(1).unwrap().to_owned();
    let mut said = String::new();
    for path in routes(&house, &token).into_iter().chain(pages(&house)) {
        let (status, text) = house.hub.read(&path, (&token, &cookie)).unwrap();
        assert!(status == 200 || path.contains("{id}"), "{status} {path}: {text}");
        said += &text;
    }
    // A line break in what a stranger sends makes no line of the log.
    house.hub.call(Method::GET, "/agents/x%0a%7b%22level%22%3a%22canary-line-77%22%7d", None).unwrap();
    let log = house.hub.log();
    assert!(log.iter().all(|line| !line.level.eq_ignore_ascii_case("canary-line-77")), "{log:?}");
    let log = format!("{log:?}");
    process.stop(PATIENCE).unwrap();

    let secrets = [CELL, DATABASE_SECRET, &agent_secret, house.hub.client_secret(), &cookie_value, &token];
    for secret in secrets.into_iter().chain([millrace_testkit::hub::OWNER.1]) {
        assert!(!house.hub_holds(secret), "{secret} is in the hub's folder");
        assert!(!said.contains(secret), "{secret} was said");
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    // What is looked for would be found.
    assert!(house.hub_holds("SHOP_PASSWORD") && said.contains("SHOP_PASSWORD"));
}
