//! Preflight: proves that the store keeps the promises that the protocol hangs on, with throw-away names under `tmp/`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_model::{Fault, Finding};

use crate::Lake;
use crate::fault::Cause;
use crate::names::TMP_FOLDER;
use crate::store::Created;

/// Tells the probes of one process apart.
static NEXT_PROBE: AtomicU64 = AtomicU64::new(0);

/// What is in the way. An answer that says no is a finding; a missing answer is a fault with remedy `Retry`.
pub(crate) async fn check(lake: &Lake) -> Result<Vec<Finding>, Fault> {
    match prove(lake).await {
        Ok(()) => Ok(Vec::new()),
        Err(fault) => match Finding::of_fault("streamingTarget", &fault) {
            Some(finding) => Ok(vec![finding]),
            None => Err(fault),
        },
    }
}

async fn prove(lake: &Lake) -> Result<(), Fault> {
    let number = NEXT_PROBE.fetch_add(1, Ordering::Relaxed);
    let name = format!("{TMP_FOLDER}/check-{}-{}-{number}", lake.settings.instance, std::process::id());
    if lake.store.read(&name).await?.is_some() {
        return Err(broken("a name that nobody made was found"));
    }
    let proven = prove_create_once(lake, &name).await;
    let deleted = lake.store.delete(&name).await;
    proven.and(deleted)?;
    // What the sweep does: no upload is over for it but one that is made for this.
    lake.store.prove_upload(&name).await?;
    lake.store.give_up(&|_path| false).await?;
    match lake.store.read(&name).await? {
        Some(_) => Err(broken("a name that was deleted is still there")),
        None => Ok(()),
    }
}

async fn prove_create_once(lake: &Lake, name: &str) -> Result<(), Fault> {
    let (first, second): (Arc<[u8]>, Arc<[u8]>) = (Arc::from(*b"first"), Arc::from(*b"second"));
    // A create that a store has asked itself twice, or that met another answer on its way, may find what it has made.
    if lake.store.create(name, Arc::clone(&first)).await? != Created::Created
        && lake.store.read(name).await?.as_deref() != Some(&*first)
    {
        return Err(broken("a name that was not there could not be created"));
    }
    if lake.store.create(name, second).await? != Created::Exists {
        return Err(broken("one name was created twice"));
    }
    if lake.store.read(name).await?.as_deref() != Some(&*first) {
        return Err(broken("a refused create changed what stood there"));
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    if !lake.store.list(TMP_FOLDER).await?.iter().any(|entry| entry.name == last) {
        return Err(broken("a name that was created is not in its folder's list"));
    }
    Ok(())
}

fn broken(what: &str) -> Fault {
    Cause::BrokenPromise { what: what.into() }.into()
}
