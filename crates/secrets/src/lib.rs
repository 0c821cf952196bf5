//! Reads the values behind secret references: from the environment, from files, and from the secret services of clouds.
//!
//! A read asks the store, always; [`Secrets::keep`] is for whoever signs in again and again. What is kept otherwise are the
//! identities with which the services are asked (`millrace-identity`). Values are overwritten in memory when they are dropped.

mod aws;
mod azure;
mod cloud;
mod crc32c;
mod fault;
mod google;
mod kept;
mod local;
mod names;
mod object;
mod vault;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use millrace_identity::Surroundings;
use millrace_model::{Fault, KeptSecret, SecretReference, SecretStore, SecretValue};
use zeroize::Zeroizing;

pub use names::known_as;

use cloud::Clouds;
use fault::Cause;
use kept::Kept;
use object::Object;

/// The secret stores of this build. Copies share their identities.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    folder: PathBuf,
    clouds: Arc<Clouds>,
}

/// What a store has under a name.
pub(crate) enum Found {
    /// A text, which may be a JSON object.
    Text(Zeroizing<String>),
    /// An object, in a store that knows nothing else.
    Object(Object),
}

impl Secrets {
    /// Relative paths of secret files are relative to `folder`. The services are asked as the process's own surroundings
    /// say.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), clouds: Arc::default() }
    }

    /// In other surroundings.
    pub fn around(folder: impl Into<PathBuf>, around: Surroundings) -> Self {
        Self { folder: folder.into(), clouds: Arc::new(Clouds::around(around)) }
    }

    /// One secret, kept for whoever signs in with it again and again. Nothing is read yet.
    pub fn keep(&self, reference: &SecretReference) -> Arc<dyn KeptSecret> {
        Arc::new(Kept::new(self.clone(), reference.clone()))
    }

    async fn find(&self, reference: &SecretReference) -> Result<Found, Fault> {
        let name = reference.name.as_str();
        match reference.store.as_str() {
            "env" => Ok(Found::Text(local::variable(name)?)),
            "file" => Ok(Found::Text(local::file(&self.folder, name)?)),
            "aws_secrets_manager" => self.clouds.aws()?.read(name).await.map(Found::Text),
            "azure_key_vault" => self.clouds.azure()?.read(name).await.map(Found::Text),
            "google_secret_manager" => self.clouds.google()?.read(name).await.map(Found::Text),
            "hashicorp_vault" => self.clouds.vault()?.read(name).await.map(Found::Object),
            other => Err(Cause::StoreUnknown(other.to_owned()).into()),
        }
    }
}

#[async_trait]
impl SecretStore for Secrets {
    async fn read(&self, reference: &SecretReference) -> Result<SecretValue, Fault> {
        let name = &reference.name;
        let value = match (self.find(reference).await?, &reference.key) {
            (Found::Text(text), None) => text,
            (Found::Text(text), Some(key)) => {
                let object =
                    Object::parse(text.as_bytes()).ok_or_else(|| Cause::NoObject(name.clone(), key.clone()))?;
                object.take(name, key)?
            }
            (Found::Object(object), Some(key)) => object.take(name, key)?,
            (Found::Object(_), None) => return Err(Cause::NoKey(name.clone()).into()),
        };
        if value.is_empty() {
            return Err(Cause::Empty(name.clone()).into());
        }
        Ok(SecretValue::new(value.as_str()))
    }
}
