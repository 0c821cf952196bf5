//! The store that a target names, with the identity of this process at its cloud.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_files::{AbsSettings, GcsSettings, LocalStore, ObjectStore, Proof, Prover, S3Settings, Store};
use millrace_identity::{AwsSettings, Surroundings, Token, TokenIdentity};
use millrace_model::{ByteSize, Fault, KeptSecret, Refusal, SecretValue, Timestamp};
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
    let around = Surroundings::of_process()?;
    let identity = millrace_identity::aws(&around, &role);
    Ok(Arc::new(ObjectStore::s3(settings, identity, &around, memory)?))
}

fn abs(spec: &AbsSpec, memory: ByteSize, secrets: &Secrets) -> Result<Arc<dyn Store>, Fault> {
    let settings = AbsSettings {
        account: spec.account_name.clone(),
        container: spec.container.clone(),
        endpoint: spec.endpoint.clone(),
    };
    let around = Surroundings::of_process()?;
    let identity = millrace_identity::azure(&around);
    let key = spec.account_key.as_ref().map(|reference| secrets.keep(reference));
    Ok(Arc::new(ObjectStore::abs(settings, Arc::new(Azure { key, identity }), &around, memory)?))
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
    let around = Surroundings::of_process()?;
    let prover: Arc<dyn Prover> = match emulator {
        Some(_) => Arc::new(Nobody),
        None => Arc::new(Google(millrace_identity::google(&around))),
    };
    Ok(Arc::new(ObjectStore::gcs(settings, prover, &around, memory)?))
}

/// What an emulator asks for.
struct Nobody;

/// The token that the environment has, else the identity of this process on Google Cloud.
struct Google(Arc<dyn TokenIdentity>);

/// The key of a storage account, of a secret or of the environment; without one the identity of this process on Azure.
struct Azure {
    key: Option<Arc<dyn KeptSecret>>,
    identity: Arc<dyn TokenIdentity>,
}

#[async_trait]
impl Prover for Nobody {
    async fn proof(&self) -> Result<Proof, Fault> {
        Ok(Proof::Nothing)
    }

    async fn another(&self, _refused: &Proof) -> Result<Option<Proof>, Fault> {
        Ok(None)
    }
}

#[async_trait]
impl Prover for Google {
    async fn proof(&self) -> Result<Proof, Fault> {
        match variable("GOOGLE_OAUTH_ACCESS_TOKEN") {
            Some(value) => Ok(Proof::Token(Arc::new(given(value)))),
            None => Ok(Proof::Token(self.0.token(GOOGLE_STORAGE).await?)),
        }
    }

    async fn another(&self, refused: &Proof) -> Result<Option<Proof>, Fault> {
        match variable("GOOGLE_OAUTH_ACCESS_TOKEN") {
            Some(_) => Ok(None),
            None => another(&*self.0, GOOGLE_STORAGE, refused).await,
        }
    }
}

#[async_trait]
impl Prover for Azure {
    async fn proof(&self) -> Result<Proof, Fault> {
        if let Some(key) = &self.key {
            return Ok(Proof::Key(key.value().await?));
        }
        match variable("AZURE_STORAGE_KEY") {
            Some(key) => Ok(Proof::Key(SecretValue::new(key))),
            None => Ok(Proof::Token(self.identity.token(AZURE_STORAGE).await?)),
        }
    }

    async fn another(&self, refused: &Proof) -> Result<Option<Proof>, Fault> {
        match (&self.key, refused) {
            (Some(kept), Proof::Key(refused)) => Ok(kept.newer(refused).await?.map(Proof::Key)),
            _ => another(&*self.identity, AZURE_STORAGE, refused).await,
        }
    }
}

/// A new token for a refused one.
async fn another(identity: &dyn TokenIdentity, scope: &str, refused: &Proof) -> Result<Option<Proof>, Fault> {
    let Proof::Token(token) = refused else { return Ok(None) };
    identity.forget(scope, token);
    Ok(Some(Proof::Token(identity.token(scope).await?)))
}

/// A token that somebody else has got and keeps new.
fn given(value: String) -> Token {
    let from = "GOOGLE_OAUTH_ACCESS_TOKEN".to_owned();
    Token { value: SecretValue::new(value), expires: Timestamp(i64::MAX), from }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the stores' standard variables are read")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
