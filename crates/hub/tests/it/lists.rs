//! Lists that may be long, in parts: by the API from row to row, in the console from page to page.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, fields, on_both_databases};
use crate::visitor::Visitor;

on_both_databases!(
    a_list_that_grows_is_read_on_from_row_to_row_and_nothing_is_lost_or_comes_twice,
    the_console_shows_long_lists_page_by_page_and_keeps_what_was_asked_for,
);

/// One part of a list, and the path of the next.
async fn part(house: &House, path: &str) -> (Vec<Value>, Option<String>) {
    let answer = house.call(Method::GET, path, None).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    let next = link.map(|link| {
        let base = format!("<{}/dpc/v1", house.settings.public_url);
        link.strip_prefix(&base).and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link").to_owned()
    });
    let listed: Value = answer.json().await.unwrap();
    let members: Vec<&str> = listed.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members.len(), 4, "the contract's members: {members:?}");
    (listed["results"].as_array().unwrap().clone(), next)
}

/// All of a list from link to link; between two parts `meanwhile` adds a row.
async fn whole(house: &House, path: &str, id: &str, meanwhile: impl AsyncFn(usize)) -> Vec<String> {
    let (mut next, mut seen) = (Some(path.to_owned()), Vec::new());
    while let Some(path) = next {
        let (rows, link) = part(house, &path).await;
        seen.extend(rows.iter().map(|row| row[id].as_str().unwrap().to_owned()));
        next = link;
        meanwhile(seen.len()).await;
        assert!(seen.len() < 1000, "{path} never ends");
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "a row came twice: {seen:?}");
    seen
}

async fn a_list_that_grows_is_read_on_from_row_to_row_and_nothing_is_lost_or_comes_twice(house: House) {
    let (first, token) = house.agent("b north").await;
    let path = house.new_pipeline("one", &first).await;
    let session = house.hello(&token).await;
    for number in 0..6 {
        let agent = house.new_agent(&format!("{} {number}", ["a", "c"][number % 2])).await;
        house.new_pipeline(&format!("p {number}"), &agent).await;
    }
    let event = async |number: usize| {
        let id = uuid::Uuid::new_v4().to_string();
        let event = json!({"id": id, "at": "2026-01-01T00:00:00.000Z", "pipelineId": path.rsplit('/').next().unwrap(),
            "severity": "info", "code": "one", "message": number.to_string(), "cure": ""});
        house.sync(&token, &session, json!({"events": [event]})).await;
    };
    for number in 0..7 {
        event(number).await;
    }
    let pipelines = house.pipelines();
    let added = async |seen: usize| {
        if seen == 2 {
            house.new_agent(&format!("a {}", &uuid::Uuid::new_v4().to_string()[..8])).await;
            event(99).await;
        }
    };
    let none = async |_: usize| {};
    for (list, id, least) in [
        ("/agents".to_owned(), "agentId", 7),
        ("/agents?sort=name".into(), "agentId", 7),
        ("/agents?sort=-name&status=PENDING".into(), "agentId", 6),
        ("/agents?sort=-lastSeen".into(), "agentId", 7),
        ("/agents?sort=status&q=%20".into(), "agentId", 7),
        (pipelines.clone(), "streamingPipelineId", 7),
        (format!("{pipelines}?sort=-name&q=p"), "streamingPipelineId", 6),
        (format!("{path}/events"), "eventId", 7),
        ("/audit-log".into(), "id", 14),
        ("/audit-log?action=agent.create".into(), "id", 7),
    ] {
        let sized = format!("{list}{}size=2", if list.contains('?') { '&' } else { '?' });
        let before = whole(&house, &sized.replace("size=2", "size=100"), id, none).await;
        assert!(before.len() >= least, "{list}: {before:?}");
        let seen = whole(&house, &sized, id, added).await;
        assert!(before.iter().all(|one| seen.contains(one)), "{list}: {seen:?} is not all of {before:?}");
        let order: Vec<&String> = seen.iter().filter(|one| before.contains(one)).collect();
        assert_eq!(order, before.iter().collect::<Vec<_>>(), "{list} is in one order");
    }
    // Pages by number are as they were, and have the way on, too.
    let (second, next) = part(&house, "/agents?page=1&size=2").await;
    let (all, _) = part(&house, "/agents?size=100").await;
    assert_eq!(second, all[2..4]);
    assert_eq!(part(&house, &next.unwrap()).await.0, all[4..6]);
    for wrong in ["", "1", "x.y", "01890A5D-AC96-774B-BCCE-B302099A8057"] {
        let problem = house.expect(400, Method::GET, &format!("/agents?after={wrong}"), None).await;
        assert_eq!(fields(&problem), ["after"], "{wrong}");
    }
    // After an event that is forgotten there are older ones no more.
    let gone = format!("{path}/events?after={}", uuid::Uuid::new_v4());
    assert_eq!(house.get(&gone).await["results"], json!([]));
}

/// The address behind a word on a page.
fn link(page: &str, word: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!("\">{word}</a>"))?;
    before.rsplit_once("href=\"").map(|(_, link)| link.replace("&#38;", "&"))
}

fn body(page: &str) -> &str {
    page.split_once("<tbody>").and_then(|(_, body)| body.split_once("</tbody>")).map_or("", |(body, _)| body)
}

async fn the_console_shows_long_lists_page_by_page_and_keeps_what_was_asked_for(house: House) {
    // More than fit on a page; one by one through the API they would take long.
    let (agent, token) = house.agent("first").await;
    let pool = house.database().await;
    let copied = "INSERT INTO agents (id, account_id, name, description, cloud_provider, deployment, agent_type, client_id, \
                  created_at, created_by) SELECT $1, account_id, $2, description, cloud_provider, deployment, agent_type, \
                  $1, created_at, created_by FROM agents WHERE id = $3";
    for number in 0..249 {
        let id = uuid::Uuid::now_v7().to_string();
        let name = format!("{} {number:03}", if number < 120 { "even" } else { "odd" });
        sqlx::query(copied).bind(&id).bind(&name).bind(&agent).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let owner = Visitor::owner(&house).await;
    let (_, first) = owner.see("/agents").await;
    assert_eq!(body(&first).matches("<tr>").count(), 100);
    assert!(first.contains("1–100 of 250"), "{first}");
    let (_, second) = owner.see(&format!("/agents{}", link(&first, "Next").unwrap())).await;
    let (_, third) = owner.see(&format!("/agents{}", link(&second, "Next").unwrap())).await;
    assert_eq!((body(&second).matches("<tr>").count(), body(&third).matches("<tr>").count()), (100, 50));
    assert_eq!(link(&third, "Next"), None);
    let all = [&first, &second, &third].map(|page| body(page)).concat();
    assert!((0..249).all(|number| all.contains(&format!(" {number:03}</a>"))));
    // Search, filter and order go with it, and a new order begins at the first page.
    let (_, found) = owner.see("/agents?q=even&status=Pending&sort=name").await;
    let next = link(&found, "Next").unwrap();
    for kept in ["q=even", "status=Pending", "sort=name", "page=1"] {
        assert!(next.contains(kept), "{next}");
    }
    let (_, rest) = owner.see(&format!("/agents{next}")).await;
    assert_eq!(body(&rest).matches("<tr>").count(), 20);
    assert!(body(&rest).contains("even 119</a>") && !body(&rest).contains("odd"), "{rest}");
    assert!(!link(&rest, "Status").expect("columns can be sorted").contains("page="));
    assert_eq!(link(&rest, "Previous").as_deref(), Some("?q=even&status=Pending&sort=name"));

    // What only grows leads back in time.
    let session = house.hello(&token).await;
    let events: Vec<Value> = (0..130)
        .map(|number| {
            json!({"id": uuid::Uuid::now_v7().to_string(), "at": "2026-01-01T00:00:00.000Z", "severity": "info",
            "code": "one", "message": format!("number {number:03}"), "cure": ""})
        })
        .collect();
    for some in events.chunks(50) {
        house.sync(&token, &session, json!({"events": some})).await;
    }
    let path = format!("/agents/{agent}/events");
    let (_, newest) = owner.see(&path).await;
    let (_, earlier) = owner.see(&format!("{path}{}", link(&newest, "Earlier").unwrap())).await;
    let all = format!("{}{}", body(&newest), body(&earlier));
    assert!((0..130).all(|number| all.matches(&format!("umber {number:03}")).count() == 1), "{all}");
    assert_eq!((link(&newest, "Newest"), link(&earlier, "Newest").as_deref()), (None, Some("?")));
    assert_eq!(link(&earlier, "Earlier"), None);
}
