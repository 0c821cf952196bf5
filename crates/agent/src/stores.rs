//! The store that a target names, with the identity of this process at its cloud.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_files::{AbsSettings, GcsSettings, LocalStore, ObjectStore, Proof, Prover, S3Settings, Store};
use millrace_identity::{AwsSettings, Surroundings, Token, TokenIdentity, is_this_machine};
use millrace_model::{ByteSize, Fault, KeptSecret, Refusal, SecretValue, Timestamp};
use millrace_protocol::{AbsSpec, GcsSpec, S3Spec, StoreSpec};
use millrace_secrets::Secrets;
use reqwest::Url;

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
    let identity = Bearer { identity: millrace_identity::azure(&around), endpoint: spec.endpoint.clone() };
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
        None => {
            let identity = millrace_identity::google(&around);
            Arc::new(Google(Bearer { identity, endpoint: spec.endpoint.clone() }))
        }
    };
    Ok(Arc::new(ObjectStore::gcs(settings, prover, &around, memory)?))
}

/// What an emulator asks for.
struct Nobody;

/// The token that the environment has, else the identity of this process on Google Cloud.
struct Google(Bearer);

/// The key of a storage account, of a secret or of the environment; without one the identity of this process on Azure.
struct Azure {
    key: Option<Arc<dyn KeptSecret>>,
    identity: Bearer,
}

/// An identity that is proven by a token, which is as good as a password to whoever reads it on its way.
struct Bearer {
    identity: Arc<dyn TokenIdentity>,
    /// Where it is sent, if not to the cloud itself.
    endpoint: Option<String>,
}

impl Bearer {
    /// A token, of the environment or of the platform, for an endpoint that keeps it from others.
    async fn token(&self, given: Option<Token>, scope: &str) -> Result<Arc<Token>, Fault> {
        if let Some(url) = self.endpoint.as_deref().filter(|url| is_open(url)) {
            let message = format!("the endpoint `{url}` is not encrypted, and no token is sent there");
            let cure = "write `https://` into the target's `endpoint`; plain http is for this machine only";
            return Err(Fault::refused("AG-019", Refusal::Spec, message, cure));
        }
        match given {
            Some(token) => Ok(Arc::new(token)),
            None => self.identity.token(scope).await,
        }
    }

    /// A new token for a refused one.
    async fn another(&self, scope: &str, refused: &Proof) -> Result<Option<Proof>, Fault> {
        let Proof::Token(token) = refused else { return Ok(None) };
        self.identity.forget(scope, token);
        Ok(Some(Proof::Token(self.token(None, scope).await?)))
    }
}

/// Whether others can read on the way what is sent there.
fn is_open(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !is_this_machine(&url))
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
        let given = variable("GOOGLE_OAUTH_ACCESS_TOKEN").map(given);
        Ok(Proof::Token(self.0.token(given, GOOGLE_STORAGE).await?))
    }

    async fn another(&self, refused: &Proof) -> Result<Option<Proof>, Fault> {
        match variable("GOOGLE_OAUTH_ACCESS_TOKEN") {
            Some(_) => Ok(None),
            None => self.0.another(GOOGLE_STORAGE, refused).await,
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
            None => Ok(Proof::Token(self.identity.token(None, AZURE_STORAGE).await?)),
        }
    }

    async fn another(&self, refused: &Proof) -> Result<Option<Proof>, Fault> {
        match (&self.key, refused) {
            (Some(kept), Proof::Key(refused)) => Ok(kept.newer(refused).await?.map(Proof::Key)),
            _ => self.identity.another(AZURE_STORAGE, refused).await,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An identity that always has a token.
    struct Ready;

    #[async_trait]
    impl TokenIdentity for Ready {
        async fn token(&self, _scope: &str) -> Result<Arc<Token>, Fault> {
            Ok(Arc::new(given("of the platform".into())))
        }

        fn forget(&self, _scope: &str, _token: &Arc<Token>) {}
    }

    #[tokio::test]
    async fn a_token_does_not_cross_a_network_in_the_clear() {
        let to = |endpoint: &str| Bearer { identity: Arc::new(Ready), endpoint: Some(endpoint.to_owned()) };
        for open in
            ["http://evil.example:18191", "http://10.0.0.7", "HTTP://storage.googleapis.com", "http://[fe80::1]"]
        {
            for given in [None, Some(given("of the environment".into()))] {
                let refused = to(open).token(given, GOOGLE_STORAGE).await.err().unwrap();
                assert_eq!(refused.code, "AG-019", "{open}");
            }
            let before = Proof::Token(Arc::new(given("before".into())));
            assert_eq!(to(open).another(GOOGLE_STORAGE, &before).await.err().unwrap().code, "AG-019");
        }
        for kept in ["https://minio.internal", "http://127.0.0.1:4443", "http://localhost:4443", "http://[::1]:4443"] {
            assert!(to(kept).token(None, GOOGLE_STORAGE).await.is_ok(), "{kept}");
        }
    }
}
