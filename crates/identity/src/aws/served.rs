//! Credentials that a service beside the process hands out: for a container (ECS, EKS Pod Identity) or a machine (IMDSv2).

use async_trait::async_trait;
use millrace_model::SecretValue;
use reqwest::{Method, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::aws::{AwsCredentials, Step};
use crate::fault::{Cause, Nothing};
use crate::http::{Answer, hidden, is_this_machine, send};
use crate::surroundings::Surroundings;
use crate::text::SecretText;
use crate::time::moment;

/// Where ECS answers.
const TASK: &str = "http://169.254.170.2";
/// Where else plain HTTP is allowed beside this machine: ECS, and the agent of EKS Pod Identity.
const BESIDE: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
/// Where a machine's metadata service answers.
const MACHINE: &str = "http://169.254.169.254";
const MACHINE_IPV6: &str = "http://[fd00:ec2::254]";
/// Life of a session with the metadata service, in seconds: longer than it takes.
const SESSION: &str = "300";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// What such a service answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Served {
    access_key_id: String,
    secret_access_key: SecretText,
    token: SecretText,
    expiration: String,
    code: Option<String>,
    message: Option<String>,
}

fn credentials(answer: &Answer, from: &str, service: &str) -> Result<AwsCredentials, Cause> {
    let not_understood = |what| Cause::Answer { identity: from.to_owned(), service: service.to_owned(), what };
    let served: Served = answer.json().ok_or_else(|| not_understood("it has no credentials"))?;
    if let Some(code) = served.code.filter(|code| code != "Success") {
        let said = format!("{code}: {}", served.message.unwrap_or_default());
        return Err(Cause::Unanswered { identity: from.to_owned(), said });
    }
    Ok(AwsCredentials {
        key_id: served.access_key_id,
        secret_key: SecretValue::new(&*served.secret_access_key),
        session_token: Some(SecretValue::new(&*served.token)),
        expires: Some(moment(&served.expiration).ok_or_else(|| not_understood("its end is no time"))?),
        from: from.to_owned(),
    })
}

/// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `_FULL_URI`.
pub(super) struct Container;

#[async_trait]
impl Step for Container {
    async fn obtain(&self, around: &Surroundings) -> Result<AwsCredentials, Nothing> {
        let Some((variable, address)) = container(around) else {
            let reason = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI are not set";
            return Err(Nothing::Absent(reason.into()));
        };
        may_be_asked(variable, &address)?;
        let from = format!("the role of {variable}");
        let mut request = around.http.beside(Method::GET, &address);
        if let Some(token) = authorization(around)? {
            request = request.header("authorization", hidden(token.trim()));
        }
        let unanswered = |said| Cause::Unanswered { identity: from.clone(), said };
        let answer = send(request).await.map_err(unanswered)?;
        match answer.status {
            200 => Ok(credentials(&answer, &from, &address)?),
            400 | 401 | 403 | 404 => {
                let said = format!("status {}: {}", answer.status, answer.text().unwrap_or_default().trim());
                let cure =
                    "give the task a role (`taskRoleArn`), or the pod's service account a Pod Identity association";
                Err(Cause::Refused { identity: from, said, cure: cure.into() }.into())
            }
            status => Err(unanswered(format!("status {status}")).into()),
        }
    }
}

/// The variable that is set, and the address that it means.
fn container(around: &Surroundings) -> Option<(&'static str, String)> {
    let (relative, full) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let of_task = around.variable(relative).map(|path| (relative, format!("{TASK}{path}")));
    of_task.or_else(|| around.variable(full).map(|address| (full, address)))
}

/// Plain HTTP only to this machine and to the two services of AWS: whoever sets the variable could otherwise read the
/// authorization token.
fn may_be_asked(variable: &str, address: &str) -> Result<(), Cause> {
    let wrong = |reason: &str| Cause::Wrong {
        place: variable.to_owned(),
        reason: reason.to_owned(),
        cure: "leave it as ECS or EKS set it".into(),
    };
    let url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    let is_beside = BESIDE.contains(&host) || is_this_machine(&url);
    if url.scheme() == "https" || (url.scheme() == "http" && is_beside) {
        return Ok(());
    }
    Err(wrong("plain HTTP may only lead to this machine or to the credentials services of ECS and EKS"))
}

/// Read anew each time: EKS replaces the file.
fn authorization(around: &Surroundings) -> Result<Option<Zeroizing<String>>, Cause> {
    let Some(file) = around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") else {
        return Ok(around.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Zeroizing::new));
    };
    std::fs::read_to_string(&file).map(|text| Some(Zeroizing::new(text))).map_err(|error| Cause::Wrong {
        place: format!("the file `{file}` of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        reason: error.to_string(),
        cure: "leave it as EKS mounts it".into(),
    })
}

/// The machine's metadata service, version 2.
pub(super) struct Machine;

#[async_trait]
impl Step for Machine {
    async fn obtain(&self, around: &Surroundings) -> Result<AwsCredentials, Nothing> {
        if is_disabled(around) {
            return Err(Nothing::Absent("AWS_EC2_METADATA_DISABLED is true".into()));
        }
        let address = machine(around);
        let session = begin(around, &address).await?;
        let ask =
            |path: String| around.http.beside(Method::GET, &path).header("x-aws-ec2-metadata-token", hidden(&session));
        let from = "the role of this EC2 instance";
        let unanswered = |said| Cause::Unanswered { identity: from.to_owned(), said };
        let answer = send(ask(format!("{address}{ROLES}"))).await.map_err(unanswered)?;
        let text = answer.text().unwrap_or_default().trim();
        let role = match answer.status {
            200 if !text.is_empty() => text.lines().next().unwrap_or_default().to_owned(),
            200 | 404 => return Err(Nothing::Absent("this EC2 instance has no role (no instance profile)".into())),
            status => return Err(unanswered(format!("status {status}")).into()),
        };
        let from = format!("the role {role} of this EC2 instance");
        let answer = send(ask(format!("{address}{ROLES}{role}"))).await.map_err(unanswered)?;
        match answer.status {
            200 => Ok(credentials(&answer, &from, "the EC2 metadata service")?),
            status => Err(unanswered(format!("status {status}")).into()),
        }
    }
}

fn is_disabled(around: &Surroundings) -> bool {
    around.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"))
}

fn machine(around: &Surroundings) -> String {
    let mode = around.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").unwrap_or_default();
    let usual = || if mode.eq_ignore_ascii_case("ipv6") { MACHINE_IPV6.to_owned() } else { MACHINE.to_owned() };
    let set = around.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    set.map_or_else(usual, |address| address.trim_end_matches('/').to_owned())
}

/// A session; without it version 2 answers nothing, and version 1 is not asked: it can be reached by forged requests.
async fn begin(around: &Surroundings, address: &str) -> Result<Zeroizing<String>, Nothing> {
    let request = around
        .http
        .beside(Method::PUT, &format!("{address}/latest/api/token"))
        .header("x-aws-ec2-metadata-token-ttl-seconds", SESSION);
    let hint = "in a container on EC2 it needs a hop limit of 2";
    let absent = |said: String| {
        Nothing::Absent(format!("the EC2 metadata service at {address} gave no session: {said} ({hint})"))
    };
    let answer = send(request).await.map_err(absent)?;
    match (answer.status, answer.text()) {
        (200, Some(session)) => Ok(Zeroizing::new(session.trim().to_owned())),
        (status, _) => Err(absent(format!("status {status}"))),
    }
}

/// The region that the machine lies in, as its metadata service says.
pub(super) async fn region(around: &Surroundings) -> Option<String> {
    if is_disabled(around) {
        return None;
    }
    let address = machine(around);
    let session = begin(around, &address).await.ok()?;
    let request = around.http.beside(Method::GET, &format!("{address}/latest/meta-data/placement/region"));
    let answer = send(request.header("x-aws-ec2-metadata-token", hidden(&session))).await.ok()?;
    answer.text().filter(|_| answer.status == 200).map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_ecs_asks_the_address_of_ecs() {
        let variable =
            |name: &str| (name == "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").then(|| "/v2/credentials/1".to_owned());
        let around = Surroundings::new(variable, std::sync::Arc::new(crate::WallClock)).unwrap();
        let (variable, address) = container(&around).unwrap();
        assert_eq!(address, "http://169.254.170.2/v2/credentials/1");
        assert!(may_be_asked(variable, &address).is_ok());
    }

    #[test]
    fn plain_http_leads_only_to_this_machine_and_to_aws_s_own_services() {
        for (address, allowed) in [
            ("http://169.254.170.2/v2/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://127.0.0.1:99/x", true),
            ("http://localhost/x", true),
            ("https://anywhere.example/x", true),
            ("http://anywhere.example/x", false),
            ("http://169.254.170.2.example/x", false),
            ("http://127.evil.example/x", false),
            ("http://[::1]:99/x", true),
            ("ftp://127.0.0.1/x", false),
            ("x", false),
        ] {
            assert_eq!(may_be_asked("V", address).is_ok(), allowed, "{address}");
        }
    }
}
