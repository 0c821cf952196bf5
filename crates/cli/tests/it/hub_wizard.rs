//! The wizard with a real agent and a real database behind it: what is tested is tested there, and what is chosen runs.

use millrace_testkit::hub::OWNER;
use reqwest::blocking::{Client, Response};
use reqwest::redirect::Policy;
use serde_json::json;

use crate::hub_house::HubHouse;
use crate::shop::{PATIENCE, is_long, wait};

/// A browser without JavaScript, signed in as the owner.
struct Browser<'a> {
    house: &'a HubHouse,
    http: Client,
    cookie: String,
    token: String,
}

impl<'a> Browser<'a> {
    fn sign_in(house: &'a HubHouse) -> Self {
        let http = Client::builder().redirect(Policy::none()).timeout(PATIENCE).build().unwrap();
        let mut browser = Self { house, http, cookie: String::new(), token: String::new() };
        let answer = browser.send("/sign-in", &[("email", OWNER.0), ("password", OWNER.1)]);
        let set = answer.headers()["set-cookie"].to_str().unwrap();
        set.split(';').next().unwrap().clone_into(&mut browser.cookie);
        let page = browser.get("/pipelines/new");
        let (_, rest) = page.split_once("name=\"token\" value=\"").unwrap();
        rest.split('"').next().unwrap().clone_into(&mut browser.token);
        browser
    }

    fn get(&self, path: &str) -> String {
        let request = self.http.get(format!("{}{path}", self.house.hub.url)).header("cookie", &self.cookie);
        request.send().unwrap().text().unwrap()
    }

    fn send(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let fields = [fields, &[("token", self.token.as_str())]].concat();
        let request = self.http.post(format!("{}{path}", self.house.hub.url)).header("cookie", &self.cookie);
        request.header("sec-fetch-site", "same-origin").form(&fields).send().unwrap()
    }

    /// Sends a form; where that leads.
    fn post(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.send(path, fields);
        let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        let said = if to.is_none() { answer.text().unwrap() } else { String::new() };
        assert!(to.is_some(), "{path}: {said}");
        to.unwrap()
    }

    /// Looks at a page until it says that.
    fn until(&self, path: &str, text: &str) -> String {
        wait(&format!("{path} to say {text}"), || self.get(path).contains(text));
        self.get(path)
    }
}

/// A schema with so many tables, and one without a key.
fn create_many(house: &HubHouse, many: u32) {
    let one = "EXECUTE format('CREATE TABLE many.t%s (id int PRIMARY KEY, a text, b numeric, c timestamptz)', i)";
    // Not in one transaction: each table holds a lock until it ends.
    let body = format!("FOR i IN 1..{many} LOOP {one}; IF i % 500 = 0 THEN COMMIT; END IF; END LOOP");
    house.shop.database.sql("CREATE SCHEMA many; CREATE TABLE many.keyless (a int)").unwrap();
    house.shop.database.sql(&format!("DO $$ BEGIN {body}; END $$")).unwrap();
}

#[test]
fn what_is_chosen_in_the_wizard_is_what_the_agent_found_and_runs() {
    let house = HubHouse::open();
    let many = if is_long() { 10_000 } else { 150 };
    create_many(&house, many);
    let agent = house.hub.add_agent("free").unwrap();
    let process = house.process(&agent, "free").allow("command").start().unwrap();
    house.hub.wait_for_agent(&agent, "RUNNING", PATIENCE).unwrap();
    let browser = Browser::sign_in(&house);
    let source = browser.post("/pipelines/new", &[("name", "by hand"), ("agentId", &agent)]);
    let draft = source.strip_suffix("/source").unwrap();
    let step = |name: &str| format!("{draft}/{name}");
    let port = house.shop.database.port().to_string();
    let place = |database| {
        [
            ("host", "127.0.0.1"),
            ("port", port.as_str()),
            ("database", database),
            ("username", "postgres"),
            ("sslmode", "disable"),
        ]
    };
    // What is wrong is said by the agent, with its cure.
    browser.post(&source, &place("nowhere"));
    browser.post(&step("test"), &[("go", "test")]);
    let page = browser.until(&step("test"), "The connection does not work yet.");
    assert!(page.contains("class=\"cure\"") && page.contains("Error"), "{page}");
    browser.post(&source, &place("shop"));
    browser.post(&step("test"), &[("go", "test")]);
    browser.until(&step("test"), "The connection works.");

    browser.post(&step("test"), &[("go", "next")]);
    let page = browser.until(&step("tables"), "many (");
    assert!(page.contains(&format!("many ({})", many + 1)), "all of them came");
    let page = browser.get(&format!("{}?schema=many&q=keyless", step("tables")));
    assert!(page.contains("Not as it is:") && page.contains("no key"), "{page}");
    // Everything that the search finds, of which a page shows a hundred.
    browser.post(&step("tables"), &[("go", "found"), ("schema", "many"), ("q", "many.t1")]);
    let marked = [("go", "next"), ("shown", "[\"public\",\"orders\"]"), ("table", "[\"public\",\"orders\"]")];
    browser.post(&step("tables"), &marked);
    let lake = house.state("by hand");
    let folder = [("path", lake.to_str().unwrap()), ("prefix", "")];
    browser.post(&step("target"), &[&folder[..], &[("go", "test")]].concat());
    browser.until(&step("target"), "The target works");
    browser.post(&step("target"), &folder);
    browser.post(&step("options"), &[("interval", "100ms"), ("snapshot", "initial")]);
    let review = browser.get(&step("review"));
    assert!(review.contains("{schema: public, table: orders}"), "{review}");
    let made = browser.post(&step("review"), &[("go", "start")]);
    let pipelines = house.pipeline.rsplit_once('/').unwrap().0;
    let path = format!("{pipelines}/{}", made.rsplit('/').next().unwrap());
    house.hub.wait_for_pipeline(&path, "STREAMING", PATIENCE).unwrap();
    let body = house.hub.expect(200, reqwest::Method::GET, &path, None).unwrap();
    let tables = body["streamingSource"]["tables"].as_array().unwrap();
    let found = (1..=many).filter(|number| number.to_string().starts_with('1')).count();
    assert_eq!((tables.len(), &tables[tables.len() - 1]), (found + 1, &json!({"schema": "public", "table": "orders"})));
    process.stop(PATIENCE).unwrap();
}
