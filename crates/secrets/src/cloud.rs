//! The clients of the services, each made when it is first needed: a pipeline that uses none asks for no identity.

use std::fmt;
use std::sync::{Arc, OnceLock};

use millrace_identity::{AwsSettings, Surroundings, VaultClient};
use millrace_model::Fault;

use crate::aws::AwsStore;
use crate::azure::AzureStore;
use crate::google::GoogleStore;
use crate::vault::VaultStore;

/// The clients.
#[derive(Default)]
pub(crate) struct Clouds {
    around: OnceLock<Surroundings>,
    aws: OnceLock<Arc<AwsStore>>,
    azure: OnceLock<Arc<AzureStore>>,
    google: OnceLock<Arc<GoogleStore>>,
    vault: OnceLock<Arc<VaultStore>>,
}

impl fmt::Debug for Clouds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clouds")
    }
}

impl Clouds {
    pub(crate) fn around(around: Surroundings) -> Self {
        Self { around: OnceLock::from(around), ..Self::default() }
    }

    pub(crate) fn aws(&self) -> Result<Arc<AwsStore>, Fault> {
        let around = self.surroundings()?;
        let make = || Ok(AwsStore::new(around, millrace_identity::aws(around, &AwsSettings::default())));
        once(&self.aws, make)
    }

    pub(crate) fn azure(&self) -> Result<Arc<AzureStore>, Fault> {
        let around = self.surroundings()?;
        once(&self.azure, || Ok(AzureStore::new(around, millrace_identity::azure(around))))
    }

    pub(crate) fn google(&self) -> Result<Arc<GoogleStore>, Fault> {
        let around = self.surroundings()?;
        once(&self.google, || Ok(GoogleStore::new(around, millrace_identity::google(around))))
    }

    pub(crate) fn vault(&self) -> Result<Arc<VaultStore>, Fault> {
        let around = self.surroundings()?;
        once(&self.vault, || VaultClient::new(around).map(VaultStore::new))
    }

    fn surroundings(&self) -> Result<&Surroundings, Fault> {
        if self.around.get().is_none() {
            // Another thread may have been faster; the two are alike.
            let _set_already = self.around.set(Surroundings::of_process()?);
        }
        Ok(self.around.get().expect("it was set just now"))
    }
}

fn once<T>(cell: &OnceLock<Arc<T>>, make: impl FnOnce() -> Result<T, Fault>) -> Result<Arc<T>, Fault> {
    match cell.get() {
        Some(made) => Ok(Arc::clone(made)),
        None => {
            let made = Arc::new(make()?);
            Ok(Arc::clone(cell.get_or_init(|| made)))
        }
    }
}
