//! Tokens that say who this process is to somebody outside its cloud: OpenID Connect, for an audience of one's choice.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_model::{Fault, SecretValue};
use serde_json::Value;

use crate::aws::call::AwsClient;
use crate::aws::sts::web_identity_token;
use crate::aws::{AwsSettings, aws};
use crate::azure::azure;
use crate::fault::bounded;
use crate::google::identity_token;
use crate::surroundings::Surroundings;
use crate::token::{Token, TokenIdentity};

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// The token service of AWS (`GetWebIdentityToken`), of the role that the process has.
    Aws,
    /// Microsoft Entra, of a managed identity or an application.
    Azure,
    /// The metadata server of Google Cloud, of the service account.
    Google,
}

impl Platform {
    /// Reads its word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "aws" => Some(Self::Aws),
            "azure" => Some(Self::Azure),
            "google" => Some(Self::Google),
            _ => None,
        }
    }
}

/// Gives such tokens.
pub struct Workload {
    around: Surroundings,
    service: Service,
}

enum Service {
    Aws(AwsClient),
    Azure(Arc<dyn TokenIdentity>),
    Google,
}

/// A token, and what to do where it is refused.
pub struct WorkloadToken {
    /// The token.
    pub value: SecretValue,
    /// One that is kept until it ends.
    kept: Option<(String, Arc<Token>)>,
}

impl Workload {
    /// Of this process.
    pub fn new(platform: Platform, around: &Surroundings) -> Self {
        let service = match platform {
            Platform::Aws => Service::Aws(AwsClient::new(around, aws(around, &AwsSettings::default()), "sts")),
            Platform::Azure => Service::Azure(azure(around)),
            Platform::Google => Service::Google,
        };
        Self { around: around.clone(), service }
    }

    /// A token for this audience.
    pub async fn token(&self, audience: &str) -> Result<WorkloadToken, Fault> {
        match &self.service {
            Service::Aws(client) => {
                let value = web_identity_token(&self.around, client, audience).await?;
                Ok(WorkloadToken { value, kept: None })
            }
            Service::Azure(identity) => {
                let scope = format!("{audience}/.default");
                let token = identity.token(&scope).await?;
                Ok(WorkloadToken { value: token.value.clone(), kept: Some((scope, token)) })
            }
            Service::Google => Ok(WorkloadToken { value: identity_token(&self.around, audience).await?, kept: None }),
        }
    }

    /// It was refused: it is not given out again.
    pub fn forget(&self, refused: &WorkloadToken) {
        if let (Service::Azure(identity), Some((scope, token))) = (&self.service, &refused.kept) {
            identity.forget(scope, token);
        }
    }
}

/// What a token says of itself, for people: issuer, subject and audience. It is not verified here.
pub fn said(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let claim = |name: &str| claims.get(name).map_or_else(|| "none".to_owned(), ToString::to_string);
    Some(bounded(&format!("issuer {}, subject {}, audience {}", claim("iss"), claim("sub"), claim("aud"))))
}
