//! When something that signs in was used last, and from where: the same for secrets of agents, their keys and rules, and API clients.

use millrace_model::Timestamp;
use sqlx::{Any, Executor};

use crate::fault::Refused;

/// What was used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Used {
    /// A secret of an agent.
    Credential,
    /// A key or a trust rule of an agent.
    Trust,
    /// The secret of an API client.
    Client,
}

/// Notes that this one was used.
pub(crate) async fn note<'e>(
    on: impl Executor<'e, Database = Any>,
    (used, id): (Used, &str),
    address: &str,
    at: Timestamp,
) -> Result<(), Refused> {
    let sql = match used {
        Used::Credential => "UPDATE agent_credentials SET last_used_at = $2, last_address = $3 WHERE id = $1",
        Used::Trust => "UPDATE agent_trust SET last_used_at = $2, last_address = $3 WHERE id = $1",
        Used::Client => "UPDATE api_clients SET last_used_at = $2, last_address = $3 WHERE id = $1",
    };
    sqlx::query(sql).bind(id).bind(at.0).bind(address).execute(on).await?;
    Ok(())
}
