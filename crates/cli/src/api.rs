//! A client of the hub's REST API, as any other program would be one.

#![expect(clippy::indexing_slicing, reason = "JSON answers null for what it lacks")]

use millrace_model::{Fault, Refusal};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

use crate::args::ApiArguments;
use crate::commands::variable;
use crate::fault::Failure;

/// A signed-in client.
pub(crate) struct Api {
    http: Client,
    url: String,
    token: String,
}

/// Results of a page.
const SIZE: u64 = 100;

impl Api {
    /// Signs in with what flags and environment say.
    pub(crate) async fn sign_in(arguments: &ApiArguments) -> Result<Self, Failure> {
        let _set_already = rustls::crypto::ring::default_provider().install_default();
        let given = |flag: &Option<String>, name: &str| flag.clone().or_else(|| variable(name));
        let url = given(&arguments.hub, "HUB_URL").ok_or_else(|| missing("the hub's address", "--hub or HUB_URL"))?;
        let id = given(&arguments.client_id, "API_CLIENT_ID")
            .ok_or_else(|| missing("the API client's id", "--client-id or API_CLIENT_ID"))?;
        let secret = match (&arguments.client_secret_file, variable("API_CLIENT_SECRET")) {
            (Some(file), _) => std::fs::read_to_string(file)
                .map(|text| text.trim_end().to_owned())
                .map_err(|error| crate::fault::Cause::FileUnreadable { file: file.clone(), error })?,
            (None, Some(secret)) => secret,
            (None, None) => {
                return Err(missing("the API client's secret", "--client-secret-file or API_CLIENT_SECRET"));
            }
        };
        let url = address(&url)?;
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().map_err(no_answer)?;
        let form = [("grant_type", "client_credentials")];
        let answer = http
            .post(format!("{url}/oauth/dpc/token"))
            .basic_auth(id, Some(secret))
            .form(&form)
            .send()
            .await
            .map_err(no_answer)?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(refused(
                Refusal::Permission,
                "the hub does not know this API client",
                "copy its id and secret",
            ));
        }
        let (status, body) = read(answer).await?;
        let token = body["access_token"].as_str().ok_or_else(|| said_no(status, &body))?.to_owned();
        Ok(Self { http, url, token })
    }

    /// One call; a refusal is a failure with the hub's own words.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let request = self.http.request(method, format!("{}/dpc/v1{path}", self.url)).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let (status, body) = read(request.send().await.map_err(no_answer)?).await?;
        if status.is_success() { Ok(body) } else { Err(said_no(status, &body)) }
    }

    /// All of a list, page by page.
    pub(crate) async fn all(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        for page in 0.. {
            let listed = self.call(Method::GET, &format!("{path}?page={page}&size={SIZE}"), None).await?;
            let results = listed["results"].as_array().cloned().unwrap_or_default();
            if results.is_empty() {
                break;
            }
            all.extend(results);
            if all.len() as u64 >= listed["total"].as_u64().unwrap_or_default() {
                break;
            }
        }
        Ok(all)
    }

    /// The one of a list that has this id or this name.
    pub(crate) async fn find(&self, path: &str, id_member: &str, wanted: &str) -> Result<Value, Failure> {
        let all = self.all(path).await?;
        let by = |member: &str| all.iter().find(|one| one[member] == wanted).cloned();
        by(id_member).or_else(|| by("name")).ok_or_else(|| {
            refused(
                Refusal::Check,
                format!("there is none with the id or the name `{wanted}`"),
                "`list` shows what there is",
            )
        })
    }
}

/// What was answered; what is no JSON is null.
async fn read(answer: Response) -> Result<(StatusCode, Value), Failure> {
    let status = answer.status();
    let text = answer.text().await.map_err(no_answer)?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}

/// A refusal in the hub's own words.
fn said_no(status: StatusCode, body: &Value) -> Failure {
    let mut message = body["detail"].as_str().map_or_else(|| format!("the hub answers {status}"), str::to_owned);
    for violation in body["violations"].as_array().into_iter().flatten() {
        let text = |name: &str| violation[name].as_str().unwrap_or_default().to_owned();
        message += &format!("\n  {}: {}", text("field"), text("message"));
    }
    let (refusal, cure) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (Refusal::Permission, "use an API client that may do this"),
        StatusCode::NOT_FOUND => (Refusal::Check, "`list` shows what there is"),
        StatusCode::BAD_REQUEST => (Refusal::Spec, "correct what is named"),
        StatusCode::TOO_MANY_REQUESTS => (Refusal::Check, "wait a minute, then try again"),
        _ => (Refusal::Check, "the message says what is in the way"),
    };
    refused(refusal, message, cure)
}

/// The hub's address without a slash at its end.
fn address(url: &str) -> Result<String, Failure> {
    if ["http://", "https://"].iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let cure = "give --hub or HUB_URL as https://HOST:PORT";
    Err(refused(Refusal::Spec, format!("`{url}` is not the address of a hub"), cure))
}

fn missing(what: &str, where_from: &str) -> Failure {
    refused(Refusal::Spec, format!("{what} is not given"), format!("give it by {where_from}"))
}

fn refused(refusal: Refusal, message: impl Into<String>, cure: impl Into<String>) -> Failure {
    Failure::Fault(Fault::refused("CL-011", refusal, message, cure))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn no_answer(error: reqwest::Error) -> Failure {
    let mut message = format!("the hub gives no answer: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(beneath) = cause {
        message += &format!(": {beneath}");
        cause = beneath.source();
    }
    Failure::Fault(Fault::refused("CL-012", Refusal::Check, message, "look whether the hub runs at that address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_hub_is_http_or_https() {
        for (written, url) in
            [("https://hub.example.com/", "https://hub.example.com"), ("http://[::1]:80", "http://[::1]:80")]
        {
            assert_eq!(address(written).ok().as_deref(), Some(url));
        }
        for wrong in ["ftp://hub.example.com", "hub.example.com", "https://", ""] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
