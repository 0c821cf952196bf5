//! What hub processes on one PostgreSQL say to each other: that there is news for an agent. Nothing of it is stored.

use sqlx::AnyPool;
use sqlx::postgres::PgListener;

use crate::fault::Refused;

const CHANNEL: &str = "millrace_wake";
/// Ids in one message: PostgreSQL takes up to 8,000 bytes.
const MOST: usize = 200;

/// Says that there is news for these agents. Not within the transaction that makes it: a commit with a notification takes a lock
/// on the whole database.
pub(crate) async fn tell(pool: &AnyPool, from: &str, agents: &[String]) -> Result<(), Refused> {
    for some in agents.chunks(MOST) {
        sqlx::query("SELECT CAST(pg_notify($1, $2) AS TEXT)")
            .bind(CHANNEL)
            .bind(format!("{from} {}", some.join(" ")))
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// What was heard.
pub(crate) enum Heard {
    /// There is news for these agents.
    Ring { from: String, agents: Vec<String> },
    /// The connection was lost for a while.
    Gap,
}

/// Hears what is said.
pub(crate) struct Listener(PgListener);

impl Listener {
    /// On a connection of its own.
    pub(crate) async fn open(url: &str) -> Result<Self, Refused> {
        let mut listener = PgListener::connect(url).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// The next word.
    pub(crate) async fn next(&mut self) -> Result<Heard, Refused> {
        let Some(said) = self.0.try_recv().await? else { return Ok(Heard::Gap) };
        let mut words = said.payload().split(' ').map(str::to_owned);
        Ok(Heard::Ring { from: words.next().unwrap_or_default(), agents: words.collect() })
    }
}
