//! A person at the console, by a plain HTTP client.

use reqwest::{Method, Response, StatusCode};

use crate::house::{House, OWNER, PASSWORD};

/// A browser without JavaScript: it keeps cookies, follows nothing by itself.
pub(crate) struct Visitor<'a> {
    pub(crate) house: &'a House,
    pub(crate) http: reqwest::Client,
    pub(crate) cookie: String,
}

/// Another password that is good enough.
pub(crate) const OTHER: &str = "four words that differ";

impl<'a> Visitor<'a> {
    pub(crate) fn new(house: &'a House) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { house, http, cookie: String::new() }
    }

    /// The owner of the house, signed in.
    pub(crate) async fn owner(house: &'a House) -> Self {
        let mut owner = Self::new(house);
        owner.sign_in().await;
        owner
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.house.url)).header("cookie", &self.cookie);
        request.send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let request = self.http.post(format!("{}{path}", self.house.url)).header("cookie", &self.cookie);
        request.header("sec-fetch-site", "same-origin").form(fields).send().await.unwrap()
    }

    /// A form with the token of this session: status and page.
    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let token = self.token().await;
        let answer = self.post(path, &[fields, &[("token", token.as_str())]].concat()).await;
        (answer.status(), answer.text().await.unwrap())
    }

    /// A page: status and text.
    pub(crate) async fn see(&self, path: &str) -> (StatusCode, String) {
        let answer = self.get(path).await;
        (answer.status(), answer.text().await.unwrap())
    }

    /// Whether the session is still one.
    pub(crate) async fn is_in(&self) -> bool {
        self.get("/me").await.status() == StatusCode::OK
    }

    pub(crate) async fn sign_in(&mut self) {
        self.sign_in_as(OWNER, PASSWORD).await;
    }

    pub(crate) async fn sign_in_as(&mut self, email: &str, password: &str) {
        let answer = self.post("/sign-in", &[("email", email), ("password", password)]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{email}");
        self.enter(&answer);
    }

    /// Takes the cookie of an answer.
    pub(crate) fn enter(&mut self, answer: &Response) {
        let set = answer.headers()["set-cookie"].to_str().unwrap();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
        set.split(';').next().unwrap().clone_into(&mut self.cookie);
    }

    pub(crate) async fn token(&self) -> String {
        let page = self.get("/me").await.text().await.unwrap();
        let (_, rest) = page.split_once("name=\"token\" value=\"").expect("a page has forms");
        rest.split('"').next().unwrap().to_owned()
    }
}

/// Someone whom the API invites, with the password [`OTHER`]: their session and their id.
pub(crate) async fn joined<'a>(house: &'a House, email: &str, role: &str) -> (Visitor<'a>, String) {
    let asked = serde_json::json!({"email": email, "role": role});
    let invited = house.expect(201, Method::POST, "/users", Some(asked)).await;
    let url = invited["joinUrl"].as_str().unwrap();
    let mut person = Visitor::new(house);
    let answer = person.post(&url[url.find("/join/").unwrap()..], &[("password", OTHER)]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{email}");
    person.enter(&answer);
    (person, user(house, email).await["userId"].as_str().unwrap().to_owned())
}

/// What the API says of a person.
pub(crate) async fn user(house: &House, email: &str) -> serde_json::Value {
    let users = house.get("/users").await;
    let found = users["results"].as_array().unwrap().iter().find(|user| user["email"] == email).cloned();
    found.unwrap_or_default()
}
