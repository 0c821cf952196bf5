//! The token service of AWS (STS), always that of a region: `AssumeRole` and `AssumeRoleWithWebIdentity`.

use async_trait::async_trait;
use millrace_model::{Fault, SecretValue};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use zeroize::Zeroizing;

use crate::aws::call::{AwsClient, Place, Refusal, element, endpoint, is_region};
use crate::aws::{AwsCredentials, Step};
use crate::fault::{Cause, Nothing};
use crate::http::{Answer, send};
use crate::surroundings::Surroundings;
use crate::time::moment;

/// The version of the service's interface.
const VERSION: &str = "2011-06-15";
/// What stands in the audit trail beside the role where nobody chose a name.
const SESSION: &str = "millrace";

/// `AssumeRoleWithWebIdentity`: a token that Kubernetes (or another issuer) wrote for this process.
pub(super) struct WebIdentity {
    /// The role, if it is not that of `AWS_ROLE_ARN`.
    pub(super) role: Option<String>,
    /// The file of the token, if it is not that of `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub(super) file: Option<String>,
    /// The region, if it is not the process's.
    pub(super) region: Option<String>,
}

#[async_trait]
impl Step for WebIdentity {
    async fn obtain(&self, around: &Surroundings) -> Result<AwsCredentials, Nothing> {
        let either = |own: &Option<String>, name: &str| own.clone().or_else(|| around.variable(name));
        let Some(file) = either(&self.file, "AWS_WEB_IDENTITY_TOKEN_FILE") else {
            return Err(Nothing::Absent("AWS_WEB_IDENTITY_TOKEN_FILE is not set".into()));
        };
        let role = either(&self.role, "AWS_ROLE_ARN").ok_or_else(|| Cause::Wrong {
            place: "AWS_WEB_IDENTITY_TOKEN_FILE".into(),
            reason: "AWS_ROLE_ARN is not set".into(),
            cure: "set AWS_ROLE_ARN to the role, or annotate the service account with eks.amazonaws.com/role-arn"
                .into(),
        })?;
        // Read anew each time: Kubernetes replaces it before it ends.
        let token = std::fs::read_to_string(&file).map(Zeroizing::new).map_err(|error| Cause::Wrong {
            place: format!("the token file `{file}`"),
            reason: error.to_string(),
            cure: "mount the service account's token, or correct AWS_WEB_IDENTITY_TOKEN_FILE".into(),
        })?;
        let from = format!("the role {role} by the web identity in `{file}`");
        let region = needed_region(around, self.region.as_deref()).await?;
        let session = around.variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| SESSION.into());
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", VERSION),
            ("RoleArn", role.as_str()),
            ("RoleSessionName", session.as_str()),
            ("WebIdentityToken", token.trim()),
        ];
        let address = endpoint(around, "sts", &region);
        // The token is the proof: this request is not signed.
        let request = around.http.request(Method::POST, &address).form(&form);
        let answer = send(request).await.map_err(|said| Cause::Unanswered { identity: from.clone(), said })?;
        if answer.is_success() {
            return Ok(credentials(&answer, &from)?);
        }
        let text = answer.text().unwrap_or_default();
        let (code, said) = (element(text, "Code").unwrap_or_default(), element(text, "Message").unwrap_or_default());
        let said = format!("{code}: {said}");
        if answer.is_passing() || code == "IDPCommunicationError" {
            return Err(Cause::Unanswered { identity: from, said }.into());
        }
        let cure = format!(
            "let the trust policy of {role} allow sts:AssumeRoleWithWebIdentity to this issuer, with the service account \
             (`sub`) and the audience (`aud`) of the token"
        );
        Err(Cause::Refused { identity: from, said, cure }.into())
    }
}

/// `AssumeRole`, with the credentials of another identity.
pub(super) struct AssumedRole {
    pub(super) client: AwsClient,
    pub(super) role: String,
    pub(super) external_id: Option<String>,
    pub(super) session: Option<String>,
    pub(super) region: Option<String>,
}

#[async_trait]
impl Step for AssumedRole {
    async fn obtain(&self, around: &Surroundings) -> Result<AwsCredentials, Nothing> {
        let region = needed_region(around, self.region.as_deref()).await?;
        let session = self.session.as_deref().unwrap_or(SESSION);
        let mut form = vec![
            ("Action", "AssumeRole"),
            ("Version", VERSION),
            ("RoleArn", self.role.as_str()),
            ("RoleSessionName", session),
        ];
        if let Some(id) = &self.external_id {
            form.push(("ExternalId", id));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let address = self.client.endpoint(&region);
        let place = Place { region: &region, endpoint: &address };
        match self.client.call(&place, &headers, encoded(&form).as_bytes()).await? {
            Ok(answer) => Ok(credentials(&answer, &format!("the role {}", self.role))?),
            Err(refusal) => Err(self.refused(refusal).into()),
        }
    }
}

impl AssumedRole {
    fn refused(&self, refusal: Refusal) -> Cause {
        let Refusal { code, message, identity } = refusal;
        let role = &self.role;
        let with = self.external_id.as_ref().map_or("", |_| " with this external id");
        let cure = format!(
            "let the trust policy of {role} allow sts:AssumeRole to it{with}, and add to its own policy: \
             {{\"Effect\":\"Allow\",\"Action\":\"sts:AssumeRole\",\"Resource\":\"{role}\"}}"
        );
        Cause::Refused {
            identity: format!("{identity}, to take the role {role},"),
            said: format!("{code}: {message}"),
            cure,
        }
    }
}

/// A token of AWS that says to somebody outside which role this process has (`GetWebIdentityToken`).
pub(crate) async fn web_identity_token(
    around: &Surroundings,
    client: &AwsClient,
    audience: &str,
) -> Result<SecretValue, Fault> {
    let region = needed_region(around, None).await?;
    let form = [
        ("Action", "GetWebIdentityToken"),
        ("Version", VERSION),
        ("Audience.member.1", audience),
        ("SigningAlgorithm", "RS256"),
        ("DurationSeconds", WEB_IDENTITY_LIFE),
    ];
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let address = client.endpoint(&region);
    let place = Place { region: &region, endpoint: &address };
    let answer = client.call(&place, &headers, encoded(&form).as_bytes()).await?.map_err(not_given)?;
    let token = answer.text().and_then(|text| element(text, "WebIdentityToken")).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Cause::Answer {
        identity: "a web identity token".into(),
        service: "STS".into(),
        what: "it has no token",
    })?;
    Ok(SecretValue::new(token))
}

/// Seconds: it is used at once.
const WEB_IDENTITY_LIFE: &str = "300";

fn not_given(refusal: Refusal) -> Cause {
    let Refusal { code, message, identity } = refusal;
    let cure = "run `aws iam enable-outbound-web-identity-federation` once in the account, and add to the role's policy: \
                {\"Effect\":\"Allow\",\"Action\":\"sts:GetWebIdentityToken\",\"Resource\":\"*\"}";
    Cause::Refused {
        identity: format!("{identity}, to get a web identity token,"),
        said: format!("{code}: {message}"),
        cure: cure.into(),
    }
}

fn encoded(form: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://form/").expect("an address that is written here");
    url.query_pairs_mut().extend_pairs(form);
    url.query().unwrap_or_default().to_owned()
}

async fn needed_region(around: &Surroundings, own: Option<&str>) -> Result<String, Cause> {
    let known = match own {
        Some(own) => Some(own.to_owned()),
        None => super::region(around).await,
    };
    let wrong = |reason: String| Cause::Wrong {
        place: "the token service of AWS".into(),
        reason,
        cure: "set AWS_REGION, as in `eu-west-1`".into(),
    };
    match known {
        Some(region) if is_region(&region) => Ok(region),
        Some(other) => Err(wrong(format!("`{other}` is no region"))),
        None => Err(wrong("its region is not known".into())),
    }
}

/// The credentials in an answer.
fn credentials(answer: &Answer, from: &str) -> Result<AwsCredentials, Cause> {
    let not_understood =
        || Cause::Answer { identity: from.to_owned(), service: "STS".into(), what: "it has no credentials" };
    let text = answer.text().ok_or_else(not_understood)?;
    let part = |name| element(text, name).filter(|it| !it.is_empty()).ok_or_else(not_understood);
    Ok(AwsCredentials {
        key_id: part("AccessKeyId")?,
        secret_key: SecretValue::new(part("SecretAccessKey")?),
        session_token: Some(SecretValue::new(part("SessionToken")?)),
        expires: Some(moment(&part("Expiration")?).ok_or_else(not_understood)?),
        from: from.to_owned(),
    })
}
