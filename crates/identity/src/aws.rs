//! AWS: keys for signatures, from the places of the standard chain.

pub(crate) mod call;
mod environment;
mod profile;
mod served;
pub(crate) mod sign;
pub(crate) mod sts;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_model::{Fault, SecretValue, Timestamp};

use crate::fault::{Cause, Nothing};
use crate::kept::{Expiring, Kept};
use crate::surroundings::Surroundings;
use call::AwsClient;
use environment::Environment;
use profile::Profile;
use served::{Container, Machine};
use sts::{AssumedRole, WebIdentity};

/// What requests are signed with.
#[derive(Clone)]
pub struct AwsCredentials {
    /// The access key's id.
    pub key_id: String,
    /// The secret access key.
    pub secret_key: SecretValue,
    /// The session token of temporary ones.
    pub session_token: Option<SecretValue>,
    /// When they end, if they do.
    pub expires: Option<Timestamp>,
    /// Where they are from, for people.
    pub from: String,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsCredentials({})", self.from)
    }
}

impl Expiring for AwsCredentials {
    fn expires(&self) -> Option<Timestamp> {
        self.expires
    }
}

/// Gives credentials. Cheap to call for each request: what was got is kept until shortly before it ends.
#[async_trait]
pub trait AwsIdentity: Send + Sync {
    /// The credentials to sign with now.
    async fn credentials(&self) -> Result<Arc<AwsCredentials>, Fault>;

    /// A service does not take these any more (`ExpiredToken`): they are not given out again.
    fn forget(&self, refused: &Arc<AwsCredentials>);
}

/// One place where credentials may be.
#[async_trait]
pub(crate) trait Step: Send + Sync {
    /// Looks there, without keeping anything.
    async fn obtain(&self, around: &Surroundings) -> Result<AwsCredentials, Nothing>;
}

/// What may be asked for beyond the standard chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// A role to take, with whatever the chain gives.
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// Region of the token service; else that of the surroundings.
    pub region: Option<String>,
}

/// The identity of this process on AWS: keys of the environment, a web identity, a profile, the role of the container,
/// the role of the machine; and over any of them the role that the settings name.
pub fn aws(around: &Surroundings, settings: &AwsSettings) -> Arc<dyn AwsIdentity> {
    let web_identity = WebIdentity { role: None, file: None, region: settings.region.clone() };
    let steps: Vec<Box<dyn Step>> = vec![
        Box::new(Environment),
        Box::new(web_identity),
        Box::new(Profile { name: None, depth: 0 }),
        Box::new(Container),
        Box::new(Machine),
    ];
    let chain = Arc::new(Chain::of(around, steps));
    let Some(role) = settings.role_arn.clone() else { return chain };
    let client = AwsClient::new(around, chain, "sts");
    let (external_id, region) = (settings.external_id.clone(), settings.region.clone());
    let taken = AssumedRole { client, role, external_id, session: None, region };
    Arc::new(Chain::of(around, vec![Box::new(taken)]))
}

/// The region of the surroundings: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, or the one that the machine lies in.
pub async fn region(around: &Surroundings) -> Option<String> {
    let set = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| around.variable(name));
    match set.or_else(|| profile::region(around)) {
        Some(region) => Some(region),
        None => served::region(around).await,
    }
}

/// The steps, one after the other; the first that is set up here is the identity.
pub(crate) struct Chain {
    around: Surroundings,
    steps: Vec<Box<dyn Step>>,
    kept: Kept<AwsCredentials>,
}

impl Chain {
    pub(crate) fn of(around: &Surroundings, steps: Vec<Box<dyn Step>>) -> Self {
        Self { around: around.clone(), steps, kept: Kept::default() }
    }

    async fn walk(&self) -> Result<AwsCredentials, Fault> {
        let mut absent = Vec::new();
        for step in &self.steps {
            match step.obtain(&self.around).await {
                Ok(credentials) => return Ok(credentials),
                Err(Nothing::Absent(reason)) => absent.push(reason),
                Err(Nothing::Failed(cause)) => return Err(cause.into()),
            }
        }
        let cure = "give the task, pod or instance a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        Err(Cause::None { cloud: "AWS", steps: absent, cure: cure.into() }.into())
    }
}

#[async_trait]
impl AwsIdentity for Chain {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>, Fault> {
        self.kept.get(&self.around, "the AWS identity", self.walk()).await
    }

    fn forget(&self, refused: &Arc<AwsCredentials>) {
        self.kept.forget(refused);
    }
}
