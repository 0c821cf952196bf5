//! Drafts of the wizard beside its ordinary way: in another project, and of a pipeline that was deleted meanwhile.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::house::{House, on_both_databases};
use crate::visitor::Visitor;
use crate::wizard::{form, new_draft, send, through};

on_both_databases!(
    a_new_pipeline_goes_to_the_project_that_was_chosen,
    an_edit_of_a_pipeline_that_was_deleted_goes_on_as_a_new_one,
);

async fn a_new_pipeline_goes_to_the_project_that_was_chosen(house: House) {
    let owner = Visitor::owner(&house).await;
    let (agent, token) = house.agent("north").await;
    house.hello(&token).await;
    let field = |page: &str| form(page).into_iter().find(|(name, _)| name == "projectId").map(|(_, value)| value);
    assert_eq!(field(&owner.see("/pipelines/new").await.1), None, "one project is no choice");
    let made = house.expect(201, Method::POST, "/projects", Some(json!({"name": "Finance"}))).await;
    let finance = made["projectId"].as_str().unwrap();
    let first = house.set_up.project_id.as_str();
    assert_eq!(field(&owner.see("/pipelines/new").await.1).as_deref(), Some(first));

    let draft = new_draft(&owner, &agent).await;
    let name = format!("{draft}/name");
    let (_, page) = owner.see(&name).await;
    let typed = [("name", "shop"), ("agentId", agent.as_str()), ("projectId", "0198a0e0-0000-7000-8000-000000000000")];
    assert_eq!(owner.send(&name, &typed).await.0, StatusCode::NOT_FOUND, "another account's, or none");
    send(&owner, &name, &page, &[("projectId", finance)]).await;
    // It is kept, and shown again.
    assert_eq!(field(&owner.see(&name).await.1).as_deref(), Some(finance));
    let (_, page) = owner.see(&format!("{draft}/tables")).await;
    let target = send(&owner, &format!("{draft}/tables"), &page, &[("go", "next"), ("more", "sales.orders")]).await;
    let (_, page) = owner.see(&target).await;
    let options = send(&owner, &target, &page, &[("go", "next"), ("path", "/lake")]).await;
    let review = through(&owner, &options, "next").await;
    let done = through(&owner, &review, "create").await;
    let id = done.rsplit('/').next().unwrap();
    let made = house.get(&format!("/projects/{finance}/streaming-pipelines/{id}")).await;
    assert_eq!(made["name"], "shop");
    // An edit stays where its pipeline is.
    let (_, page) = owner.see("/me").await;
    let token = form(&page).into_iter().find(|(name, _)| name == "token").unwrap().1;
    let answer = owner.post(&format!("/pipelines/{id}/edit"), &[("token", &token)]).await;
    let review = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(field(&owner.see(&review.replace("/review", "/name")).await.1), None);
}

async fn an_edit_of_a_pipeline_that_was_deleted_goes_on_as_a_new_one(house: House) {
    let owner = Visitor::owner(&house).await;
    let agent = house.new_agent("north").await;
    let path = house.new_pipeline("shop", &agent).await;
    let id = path.rsplit('/').next().unwrap();
    let token = owner.token().await;
    let answer = owner.post(&format!("/pipelines/{id}/edit"), &[("token", &token)]).await;
    let review = answer.headers()["location"].to_str().unwrap().to_owned();
    house.expect(204, Method::DELETE, &path, None).await;
    // The list leads to it, and it can be gone on with or thrown away.
    assert!(owner.see("/pipelines").await.1.contains(&review));
    let (status, page) = owner.see(&review).await;
    assert!(status == StatusCode::OK && page.contains("was to change is deleted"), "{page}");
    assert!(page.contains("Create pipeline") && !page.contains("Save changes"), "{page}");
    let done = through(&owner, &review, "create").await;
    let made = house.get(&format!("{}/{}", house.pipelines(), done.rsplit('/').next().unwrap())).await;
    assert!(made["name"] == "shop" && made["streamingPipelineId"] != id, "{made}");
}
