//! Google: tokens from the places of Application Default Credentials.

mod file;
mod metadata;

use std::sync::{Arc, Mutex};

use crate::surroundings::Surroundings;
use crate::token::{Chain, Step, TokenIdentity};
use file::CredentialsFile;
use metadata::Metadata;

pub(crate) use metadata::identity_token;
pub use metadata::project;

/// The scope of everything that an identity may do in Google Cloud; what it may is said by its roles.
pub const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The identity of this process on Google Cloud: the file of `GOOGLE_APPLICATION_CREDENTIALS`, the one that `gcloud` left in
/// the home folder, the metadata server.
pub fn google(around: &Surroundings) -> Arc<dyn TokenIdentity> {
    let steps: Vec<Box<dyn Step>> = vec![Box::new(CredentialsFile), Box::new(Metadata)];
    let cure =
        "run with a service account on Google Cloud, or set GOOGLE_APPLICATION_CREDENTIALS to a credentials file";
    Arc::new(Chain { around: around.clone(), cloud: "Google Cloud", cure, steps, kept: Mutex::default() })
}
