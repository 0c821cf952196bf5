//! The store that a target names, with the identity of this process at its cloud.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_files::{
    AbsSettings, AwsIdentity, AwsKeys, AzureIdentity, AzureProof, GcpIdentity, GcsSettings, LocalStore, ObjectStore,
    S3Settings, Store,
};
use millrace_identity::{AwsSettings, Surroundings, TokenIdentity};
use millrace_model::{ByteSize, Fault, Refusal, SecretReference, SecretStore, SecretValue};
use millrace_protocol::{AbsSpec, GcsSpec, S3Spec, StoreSpec};
use millrace_secrets::Secrets;

/// Part of the memory limit that uploads under way may hold: their share beside builders, encoders and queues.
const MEMORY_PARTS: u64 = 8;

/// What is asked of Azure's and Google's stores.
const AZURE_STORAGE: &str = "https://storage.azure.com/.default";
const GOOGLE_STORAGE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// Opens nothing yet.
pub(crate) fn store(spec: &StoreSpec, memory_limit: ByteSize, secrets: &Secrets) -> Result<Arc<dyn Store>, Fault> {
    let memory = ByteSize::bytes(memory_limit.get() / MEMORY_PARTS);
    match spec {
        StoreSpec::Local { path } => Ok(local(path)),
        StoreSpec::S3(spec) => s3(spec, memory),
        StoreSpec::Abs(spec) => abs(spec, memory, secrets),
        StoreSpec::Gcs(spec) => gcs(spec, memory),
    }
}

fn local(path: &Path) -> Arc<dyn Store> {
    Arc::new(LocalStore::new(path.to_owned()))
}

fn s3(spec: &S3Spec, memory: ByteSize) -> Result<Arc<dyn Store>, Fault> {
    let from_environment = || variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    // Services that are not Amazon's rarely have regions, and take the name of the first one.
    let elsewhere = || spec.endpoint.as_ref().map(|_| "us-east-1".to_owned());
    let Some(region) = spec.region.clone().or_else(from_environment).or_else(elsewhere) else {
        let message = format!("nothing says in which region the bucket `{}` lies", spec.bucket);
        let cure = "write `region:` into the target, or set AWS_REGION";
        return Err(Fault::refused("AG-017", Refusal::Spec, message, cure));
    };
    let settings = S3Settings {
        bucket: spec.bucket.clone(),
        region,
        endpoint: spec.endpoint.clone(),
        path_style: spec.path_style.unwrap_or(spec.endpoint.is_some()),
        kms_key_id: spec.kms_key_id.clone(),
        storage_class: spec.storage_class.clone(),
        requester_pays: spec.requester_pays,
        tags: spec.tags.clone(),
    };
    let role = AwsSettings {
        role_arn: spec.role_arn.clone(),
        external_id: spec.external_id.clone(),
        region: Some(settings.region.clone()),
    };
    let identity = Aws(millrace_identity::aws(&Surroundings::of_process()?, &role));
    Ok(Arc::new(ObjectStore::s3(settings, Arc::new(identity), memory)?))
}

fn abs(spec: &AbsSpec, memory: ByteSize, secrets: &Secrets) -> Result<Arc<dyn Store>, Fault> {
    let settings = AbsSettings {
        account: spec.account_name.clone(),
        container: spec.container.clone(),
        endpoint: spec.endpoint.clone(),
    };
    let identity = millrace_identity::azure(&Surroundings::of_process()?);
    let identity = Azure { key: spec.account_key.clone(), secrets: secrets.clone(), identity };
    Ok(Arc::new(ObjectStore::abs(settings, Arc::new(identity), memory)?))
}

fn gcs(spec: &GcsSpec, memory: ByteSize) -> Result<Arc<dyn Store>, Fault> {
    let emulator = variable("STORAGE_EMULATOR_HOST")
        .map(|host| if host.contains("://") { host } else { format!("http://{host}") });
    let settings = GcsSettings {
        bucket: spec.bucket.clone(),
        endpoint: spec.endpoint.clone().or_else(|| emulator.clone()),
        kms_key_name: spec.kms_key_name.clone(),
        storage_class: spec.storage_class.clone(),
        user_project: spec.user_project.clone(),
    };
    let identity: Arc<dyn GcpIdentity> = match emulator {
        Some(_) => Arc::new(Nobody),
        None => Arc::new(Google(millrace_identity::google(&Surroundings::of_process()?))),
    };
    Ok(Arc::new(ObjectStore::gcs(settings, identity, memory)?))
}

/// The identity of this process on AWS, or a role that it takes.
struct Aws(Arc<dyn millrace_identity::AwsIdentity>);

/// What an emulator asks for.
struct Nobody;

/// The identity of this process on Google Cloud.
struct Google(Arc<dyn TokenIdentity>);

/// The key of a storage account, read anew for each request, as a changed environment or file has it; without one the
/// identity of this process on Azure.
struct Azure {
    key: Option<SecretReference>,
    secrets: Secrets,
    identity: Arc<dyn TokenIdentity>,
}

#[async_trait]
impl AwsIdentity for Aws {
    async fn keys(&self) -> Result<AwsKeys, Fault> {
        let found = self.0.credentials().await?;
        Ok(AwsKeys { id: found.key_id.clone(), secret: found.secret_key.clone(), token: found.session_token.clone() })
    }
}

#[async_trait]
impl GcpIdentity for Nobody {
    async fn token(&self) -> Result<Option<SecretValue>, Fault> {
        Ok(None)
    }
}

#[async_trait]
impl GcpIdentity for Google {
    async fn token(&self) -> Result<Option<SecretValue>, Fault> {
        match variable("GOOGLE_OAUTH_ACCESS_TOKEN") {
            Some(token) => Ok(Some(SecretValue::new(token))),
            None => Ok(Some(self.0.token(GOOGLE_STORAGE).await?.value.clone())),
        }
    }
}

#[async_trait]
impl AzureIdentity for Azure {
    async fn proof(&self) -> Result<AzureProof, Fault> {
        if let Some(reference) = &self.key {
            return Ok(AzureProof::Key(self.secrets.read(reference).await?));
        }
        match variable("AZURE_STORAGE_KEY") {
            Some(key) => Ok(AzureProof::Key(SecretValue::new(key))),
            None => Ok(AzureProof::Token(self.identity.token(AZURE_STORAGE).await?.value.clone())),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the stores' standard variables are read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
