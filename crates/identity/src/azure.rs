//! Azure: tokens of Microsoft Entra, from the places of the standard chain.

mod entra;
mod managed;

use std::sync::{Arc, Mutex};

use crate::surroundings::Surroundings;
use crate::token::{Chain, Step, TokenIdentity};
use entra::{ClientCertificate, ClientSecret, Workload};
use managed::{Machine, Platform};

/// The identity of this process on Azure: a client secret or certificate of the environment, a workload identity, the
/// managed identity of the app or container, that of the machine.
pub fn azure(around: &Surroundings) -> Arc<dyn TokenIdentity> {
    let steps: Vec<Box<dyn Step>> = vec![
        Box::new(ClientSecret),
        Box::new(ClientCertificate),
        Box::new(Workload),
        Box::new(Platform),
        Box::new(Machine),
    ];
    let cure = "give the pod a workload identity, or the container or machine a managed identity, or set AZURE_TENANT_ID, \
                AZURE_CLIENT_ID and AZURE_CLIENT_SECRET";
    Arc::new(Chain { around: around.clone(), cloud: "Azure", cure, steps, kept: Mutex::default() })
}
