//! What the pipeline made in the source, and how it is dropped: the slot, and the publication unless somebody else made it.

use crate::client::connect::{Purpose, connect};
use crate::client::server_error::state;
use crate::client::session::Session;
use crate::fault::Cause;
use crate::settings::Settings;
use crate::{publication, queries, slot};

/// What there is to drop; `None` where it is not there, or not ours to drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanupPlan {
    /// The replication slot.
    pub slot: Option<String>,
    /// The publication.
    pub publication: Option<String>,
}

/// What would be dropped.
pub(crate) async fn plan(settings: &Settings) -> Result<CleanupPlan, Cause> {
    look(&mut connect(settings, Purpose::Queries).await?, settings).await
}

async fn look(session: &mut Session, settings: &Settings) -> Result<CleanupPlan, Cause> {
    let slot = slot::look(session, settings).await?.map(|_| settings.slot.clone());
    let is_ours = publication::is_ours_to_change(session, settings).await?;
    let stands = is_ours && publication::stands(session, settings).await?;
    Ok(CleanupPlan { slot, publication: stands.then(|| settings.publication.clone()) })
}

/// Drops it: the slot first, because a slot without its publication cannot be read.
pub(crate) async fn run(settings: &Settings) -> Result<CleanupPlan, Cause> {
    let mut session = connect(settings, Purpose::Queries).await?;
    let plan = look(&mut session, settings).await?;
    if let Some(standing) = slot::look(&mut session, settings).await?
        && standing.is_in_the_making()
    {
        return Err(slot::making(&mut session, settings, standing).await?);
    }
    if let Some(slot) = &plan.slot {
        match session.batch(&queries::drop_slot(slot)).await {
            Err(cause) if cause.server_error().is_some_and(|error| error.is(state::IN_USE)) => {
                return Err(Cause::SlotInUse { slot: slot.clone(), holder: "another process".into() });
            }
            other => drop(other?),
        }
    }
    if let Some(publication) = &plan.publication {
        session.batch(&queries::drop_publication(publication)).await?;
    }
    Ok(plan)
}
