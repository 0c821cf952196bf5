//! The store that a target names, with the identity that the pipeline file or the environment gives.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_files::{
    AbsSettings, AwsIdentity, AwsKeys, AzureIdentity, AzureProof, GcpIdentity, GcsSettings, LocalStore, ObjectStore,
    S3Settings, Store,
};
use millrace_model::{ByteSize, Fault, Refusal, SecretReference, SecretStore, SecretValue};
use millrace_protocol::{AbsSpec, GcsSpec, S3Spec, StoreSpec};
use millrace_secrets::Secrets;

/// Part of the memory limit that uploads under way may hold: their share beside builders, encoders and queues.
const MEMORY_PARTS: u64 = 8;

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
    Ok(Arc::new(ObjectStore::s3(settings, Arc::new(Environment), memory)?))
}

fn abs(spec: &AbsSpec, memory: ByteSize, secrets: &Secrets) -> Result<Arc<dyn Store>, Fault> {
    let settings = AbsSettings {
        account: spec.account_name.clone(),
        container: spec.container.clone(),
        endpoint: spec.endpoint.clone(),
    };
    let key = AccountKey { reference: spec.account_key.clone(), secrets: secrets.clone() };
    Ok(Arc::new(ObjectStore::abs(settings, Arc::new(key), memory)?))
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
    let identity: Arc<dyn GcpIdentity> = if emulator.is_some() { Arc::new(Nobody) } else { Arc::new(Environment) };
    Ok(Arc::new(ObjectStore::gcs(settings, identity, memory)?))
}

/// The identity that the standard variables hold.
struct Environment;

/// What an emulator asks for.
struct Nobody;

/// The key of a storage account: read anew for each request, as a changed environment or file has it.
struct AccountKey {
    reference: Option<SecretReference>,
    secrets: Secrets,
}

#[async_trait]
impl GcpIdentity for Nobody {
    async fn token(&self) -> Result<Option<SecretValue>, Fault> {
        Ok(None)
    }
}

#[async_trait]
impl GcpIdentity for Environment {
    async fn token(&self) -> Result<Option<SecretValue>, Fault> {
        match variable("GOOGLE_OAUTH_ACCESS_TOKEN") {
            Some(token) => Ok(Some(SecretValue::new(token))),
            None => Err(no_credentials("Google Cloud Storage", "GOOGLE_OAUTH_ACCESS_TOKEN")),
        }
    }
}

#[async_trait]
impl AzureIdentity for AccountKey {
    async fn proof(&self) -> Result<AzureProof, Fault> {
        if let Some(reference) = &self.reference {
            return Ok(AzureProof::Key(self.secrets.read(reference).await?));
        }
        match variable("AZURE_STORAGE_KEY") {
            Some(key) => Ok(AzureProof::Key(SecretValue::new(key))),
            None => Err(no_credentials("Azure Blob Storage", "AZURE_STORAGE_KEY (or `accountKey` in the target)")),
        }
    }
}

fn no_credentials(store: &str, variables: &str) -> Fault {
    let message = format!("there are no credentials for {store}: nothing says who millrace is");
    let cure = format!("set {variables} in the environment of millrace");
    Fault::refused("AG-018", Refusal::Permission, message, cure)
}

#[async_trait]
impl AwsIdentity for Environment {
    async fn keys(&self) -> Result<AwsKeys, Fault> {
        let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) else {
            let both = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, with temporary keys also AWS_SESSION_TOKEN,";
            return Err(no_credentials("S3", both));
        };
        let token = variable("AWS_SESSION_TOKEN").map(SecretValue::new);
        Ok(AwsKeys { id, secret: SecretValue::new(secret), token })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the stores' standard variables are read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
