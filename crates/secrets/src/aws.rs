//! AWS Secrets Manager: `GetSecretValue`, signed.
//!
//! `NAME` or the full ARN; behind it `?versionId=…` or `?versionStage=…`. The region is the ARN's, or the process's.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_identity::{AwsClient, AwsIdentity, Refusal, SecretText, Surroundings, region};
use millrace_model::Fault;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::fault::Cause;

const SERVICE: &str = "AWS Secrets Manager";
const READ: &str = "secretsmanager:GetSecretValue";

/// The client.
pub(crate) struct AwsStore {
    around: Surroundings,
    client: AwsClient,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "SecretString")]
    text: Option<SecretText>,
    #[serde(rename = "SecretBinary")]
    binary: Option<SecretText>,
}

/// A reference, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    id: &'a str,
    /// Of an ARN.
    region: Option<&'a str>,
    version: Option<(&'static str, &'a str)>,
}

impl AwsStore {
    pub(crate) fn new(around: &Surroundings, identity: Arc<dyn AwsIdentity>) -> Self {
        Self { around: around.clone(), client: AwsClient::new(around, identity, "secretsmanager") }
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Zeroizing<String>, Fault> {
        let place = parse(name)?;
        let region = match place.region {
            Some(region) => region.to_owned(),
            None => region(&self.around).await.ok_or_else(|| Cause::Reference {
                name: name.to_owned(),
                reason: "the region is not known".into(),
                cure: "set AWS_REGION, or give the secret's full ARN as `secretName`".into(),
            })?,
        };
        let mut body = json!({"SecretId": place.id});
        if let (Some((field, version)), Some(fields)) = (place.version, body.as_object_mut()) {
            fields.insert(field.into(), version.into());
        }
        match self.client.json(&region, "secretsmanager.GetSecretValue", &body).await? {
            Ok(answer) => Ok(text(&answer, name)?),
            Err(refusal) => Err(cause(refusal, name, &place, &region).into()),
        }
    }
}

fn text(answer: &millrace_identity::Answer, name: &str) -> Result<Zeroizing<String>, Cause> {
    let not_understood = |what| Cause::Answer { service: SERVICE, name: name.to_owned(), what };
    let answer: Answer = answer.json().ok_or_else(|| not_understood("it is no JSON object"))?;
    if let Some(text) = answer.text {
        return Ok(text.into());
    }
    let binary = answer.binary.ok_or_else(|| not_understood("it has neither text nor bytes"))?;
    let bytes = STANDARD.decode(binary.as_bytes()).map_err(|_hidden| not_understood("its bytes are no base64"))?;
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes).map_err(|_hidden| Cause::NotText(name.to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn parse(name: &str) -> Result<Place<'_>, Cause> {
    let refused = |reason: &str| Cause::Reference {
        name: name.to_owned(),
        reason: reason.to_owned(),
        cure: "write the secret's name or its full ARN; behind it `?versionId=…` or `?versionStage=…` where another \
               version than AWSCURRENT is meant"
            .into(),
    };
    // A question mark is in no name and no ARN.
    let (id, query) = name.split_once('?').map_or((name, None), |(id, query)| (id, Some(query)));
    let version = match query.map(|query| query.split_once('=')) {
        None => None,
        Some(Some(("versionId", version))) if !version.is_empty() => Some(("VersionId", version)),
        Some(Some(("versionStage", stage))) if !stage.is_empty() => Some(("VersionStage", stage)),
        Some(_) => return Err(refused("what follows the question mark is no version")),
    };
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || "/_+=.@!-".contains(c);
    if !id.starts_with("arn:") {
        let is_name = !id.is_empty() && id.chars().all(is_of_names);
        return if is_name {
            Ok(Place { id, region: None, version })
        } else {
            Err(refused("it is no name of a secret"))
        };
    }
    let parts: Vec<&str> = id.split(':').collect();
    let [_, _, "secretsmanager", region, _, "secret", secret] = parts.as_slice() else {
        return Err(refused("it is no ARN of a secret"));
    };
    // It becomes part of a host's name.
    let is_region =
        !region.is_empty() && region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !is_region || !secret.chars().all(is_of_names) {
        return Err(refused("it is no ARN of a secret"));
    }
    Ok(Place { id, region: Some(region), version })
}

fn cause(refusal: Refusal, name: &str, place: &Place<'_>, region: &str) -> Cause {
    let Refusal { code, message, identity } = refusal;
    let denied = |permission: &str, resource: &str| Cause::Denied {
        name: name.to_owned(),
        identity: identity.clone(),
        permission: permission.to_owned(),
        said: message.clone(),
        cure: if message.contains("explicit deny") {
            format!("a policy denies {permission} explicitly: take that statement away, or except {resource} from it")
        } else {
            format!(
                "add to the identity's policy: {{\"Effect\":\"Allow\",\"Action\":\"{permission}\",\"Resource\":\"{resource}\"}}"
            )
        },
    };
    match code.as_str() {
        "ResourceNotFoundException" => Cause::Missing {
            name: name.to_owned(),
            place: format!("{SERVICE} in {region}"),
            said: message,
            cure: "correct `secretName` or AWS_REGION, or make the secret (or the version)".into(),
        },
        // Such a secret is there, and the identity may read it, but not decrypt it.
        "DecryptionFailure" => denied("kms:Decrypt", "the ARN of the secret's KMS key"),
        _ if code.starts_with("AccessDenied") && message.contains("KMS") => {
            denied("kms:Decrypt", "the ARN of the secret's KMS key")
        }
        _ if code.starts_with("AccessDenied") => denied(&permission(&message), &resource(place, region, &message)),
        "InvalidRequestException" => Cause::Unusable {
            name: name.to_owned(),
            said: message,
            cure: "restore the secret (`aws secretsmanager restore-secret`), or give it a value".into(),
        },
        _ => Cause::Refused { service: SERVICE, name: name.to_owned(), said: format!("{code}: {message}") },
    }
}

/// `User: ARN is not authorized to perform: ACTION on resource: …`.
fn permission(message: &str) -> String {
    let action = message.split_once("to perform: ").and_then(|(_, rest)| rest.split_whitespace().next());
    action.unwrap_or(READ).to_owned()
}

/// What the policy has to name: a name has six random characters behind it in its ARN.
fn resource(place: &Place<'_>, region: &str, message: &str) -> String {
    if place.region.is_some() {
        return place.id.to_owned();
    }
    let user: Vec<&str> =
        message.split_whitespace().find(|word| word.starts_with("arn:")).unwrap_or("").split(':').collect();
    let (partition, account) = (user.get(1).unwrap_or(&"aws"), user.get(4).unwrap_or(&"ACCOUNT"));
    format!("arn:{partition}:secretsmanager:{region}:{account}:secret:{}-??????", place.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_or_an_arn_with_or_without_a_version() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:billing/db-AbCdEf";
        assert_eq!(parse("billing/db").unwrap(), Place { id: "billing/db", region: None, version: None });
        assert_eq!(parse(arn).unwrap(), Place { id: arn, region: Some("eu-west-1"), version: None });
        let staged = format!("{arn}?versionStage=AWSPREVIOUS");
        let version = Some(("VersionStage", "AWSPREVIOUS"));
        assert_eq!(parse(&staged).unwrap(), Place { id: arn, region: Some("eu-west-1"), version });
        assert_eq!(parse("db?versionId=1").unwrap().version, Some(("VersionId", "1")));
        for wrong in [
            "",
            "a b",
            "db?",
            "db?version=1",
            "db?versionId=",
            "arn:aws:s3:::bucket",
            "arn:aws:secretsmanager:evil.example/:1:secret:x",
            "arn:aws:secretsmanager:eu-west-1:1:secret:x:key::",
        ] {
            assert!(matches!(parse(wrong), Err(Cause::Reference { .. })), "{wrong}");
        }
    }

    #[test]
    fn the_policy_line_is_for_the_account_of_the_identity() {
        let place = Place { id: "billing/db", region: None, version: None };
        let message =
            "User: arn:aws-cn:sts::123456789012:assumed-role/a/b is not authorized to perform: x:Y on resource: z";
        assert_eq!(permission(message), "x:Y");
        assert_eq!(
            resource(&place, "cn-north-1", message),
            "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:billing/db-??????"
        );
    }
}
