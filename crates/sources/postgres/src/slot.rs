//! The replication slot: taken, made, made anew, judged.
//!
//! S1 of `file-lake.md`: the slot is opened at its confirmed position, which holds it, and only *then* is that position
//! looked up, from a second session. The other order loses data in silence when another process replaces the slot in
//! between.
//!
//! **A publication that is missing or younger than the slot** makes the slot unreadable. That it is missing is seen in the
//! catalogue. That it is younger cannot be: the only thing that the catalogue dates it by is the `xmin` of its row, to be
//! compared with the slot's `catalog_xmin`. An `xmin` below it proves that the publication is older. One at or above it
//! proves nothing: a publication that committed just before the slot was made can have such an `xmin` too, where an older
//! transaction was still running (by reading; not reproduced), and `ALTER PUBLICATION … SET` gives an old publication a new row. So the
//! catalogue never accuses; the server does, exactly, at the first change that it decodes: `publication "…" does not exist`
//! (up to version 17), which `log` turns into the same refusal, a gap.

use std::time::Duration;

use millrace_model::{Fault, SlotState, SourceIdentity};

use crate::client::connect::{Purpose, connect};
use crate::client::duplex::Incoming;
use crate::client::replies::Replier;
use crate::client::server_error::state;
use crate::client::session::{Row, Session};
use crate::fault::Cause;
use crate::making::{Shown, Wait};
use crate::past::Past;
use crate::position::Lsn;
use crate::settings::{Binary, Settings};
use crate::{publication, queries, types};

/// How long a dead holder keeps a slot where the server never times out: until TCP gives up, in our experience.
const PATIENCE_WITHOUT_TIMEOUT: Duration = Duration::from_mins(2);
/// `binary` is known from this version on.
const BINARY_SINCE: u32 = 140_000;
/// `streaming` is known from this version on.
const STREAMING_SINCE: u32 = 140_000;
/// How often the wait for a new slot is explained.
const REMIND: Duration = Duration::from_secs(5);

/// What a connection shall do without, because an earlier one met something that it cannot carry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Without {
    /// Values in binary form.
    pub(crate) binary: bool,
    /// Transactions in progress.
    pub(crate) streaming: bool,
}

/// A slot that we hold: its log is open at the confirmed position, and the replier keeps it ours.
#[derive(Debug)]
pub(crate) struct Grip {
    pub(crate) identity: SourceIdentity,
    pub(crate) state: SlotState,
    pub(crate) confirmed: Lsn,
    pub(crate) past: Past,
    pub(crate) incoming: Incoming,
    pub(crate) replier: Replier,
    pub(crate) sender_timeout: Option<Duration>,
    pub(crate) binary: bool,
    /// Transactions come while they are in progress.
    pub(crate) streaming: bool,
    /// The second session, for the catalogue.
    pub(crate) catalogue: Session,
    /// The snapshot that the making of the slot exported; it lives as long as this.
    pub(crate) exported: Option<Exported>,
}

/// A snapshot that the making of a slot exported, on the connection that keeps it alive.
#[derive(Debug)]
pub(crate) struct Exported {
    /// Its name for `SET TRANSACTION SNAPSHOT`.
    pub(crate) snapshot: String,
    /// The position that it shows.
    pub(crate) position: Lsn,
    /// Kept, not used: the snapshot ends with it.
    session: Session,
}

/// What was found.
pub(crate) enum Take {
    Held(Box<Grip>),
    Missing(SourceIdentity),
    Lost(SourceIdentity, String),
    Busy(SourceIdentity, String, Duration),
}

/// What `pg_replication_slots` says.
#[derive(Debug)]
pub(crate) struct Standing {
    confirmed: Option<Lsn>,
    /// The log behind it is gone.
    pub(crate) is_lost: bool,
    /// Who uses it.
    pub(crate) holder: Option<String>,
}

impl Standing {
    /// Whether its making waits for running transactions: it has no position yet. Its maker may be a process that is gone.
    pub(crate) fn is_in_the_making(&self) -> bool {
        self.confirmed.is_none() && !self.is_lost
    }

    fn shown(&self) -> Shown {
        if self.is_in_the_making() { Shown::InTheMaking } else { Shown::Complete }
    }
}

fn identity_of(system: &Row, slot: &str) -> Result<SourceIdentity, Cause> {
    let identity = format!("{}|timeline {}|slot {slot}", system.text(0)?, system.text(1)?);
    Ok(SourceIdentity { kind: "postgres".into(), identity })
}

/// Who answers, and where its log comes from.
async fn identified(sender: &mut Session, settings: &Settings) -> Result<(SourceIdentity, Past), Cause> {
    let system = sender.row(queries::IDENTIFY_SYSTEM).await?;
    Ok((identity_of(&system, &settings.slot)?, Past::of(sender, system.text(1)?).await?))
}

/// Whether two identities are the same log: a promotion changes the timeline only.
pub(crate) fn same(one: &SourceIdentity, other: &SourceIdentity) -> bool {
    fn parts(identity: &str) -> Option<(&str, &str)> {
        let (system, rest) = identity.split_once("|timeline ")?;
        Some((system, rest.split_once("|slot ")?.1))
    }
    one.kind == other.kind
        && match (parts(&one.identity), parts(&other.identity)) {
            (Some(one), Some(other)) => one == other,
            _ => one.identity == other.identity,
        }
}

/// Looks at the slot; refuses one that is not ours.
pub(crate) async fn look(session: &mut Session, settings: &Settings) -> Result<Option<Standing>, Cause> {
    let Some(row) = session.query(&queries::slot(&settings.slot)).await?.pop() else { return Ok(None) };
    let slot = settings.slot.clone();
    let plugin = row.get(1).unwrap_or("none: it is a physical slot");
    if plugin != "pgoutput" {
        return Err(Cause::OtherPlugin { slot, plugin: plugin.to_owned() });
    }
    if row.get(2) != row.get(6) {
        return Err(Cause::OtherDatabase { slot, database: row.get(2).unwrap_or("none").to_owned() });
    }
    Ok(Some(Standing {
        confirmed: row.get(3).and_then(Lsn::parse),
        is_lost: row.get(4) == Some("lost"),
        holder: row.get(5).is_some().then(|| row.get(7).unwrap_or("another process").to_owned()),
    }))
}

/// How long a dead holder can keep a slot, at most.
fn patience_with(sender_timeout: Option<Duration>) -> Duration {
    sender_timeout.map_or(PATIENCE_WITHOUT_TIMEOUT, |timeout| timeout * 2)
}

/// S1.
pub(crate) async fn take(settings: &Settings, without: Without) -> Result<Take, Cause> {
    let mut sender = connect(settings, Purpose::Replication).await?;
    let (identity, mut past) = identified(&mut sender, settings).await?;
    let timeout = sender.row(queries::SENDER_TIMEOUT).await?.number(0)?;
    let sender_timeout = (timeout > 0).then(|| Duration::from_millis(timeout));
    let mut catalogue = connect(settings, Purpose::Queries).await?;
    match look(&mut catalogue, settings).await? {
        None => return Ok(Take::Missing(identity)),
        Some(standing) if standing.is_lost => return Ok(lost(identity)),
        Some(standing) if standing.is_in_the_making() => return Err(making(&mut catalogue, settings, standing).await?),
        Some(_) => {}
    }
    let binary = wants_binary(&mut catalogue, settings, without).await?;
    let streaming = settings.streaming && !without.streaming && catalogue.version() >= STREAMING_SINCE;
    let start = queries::start_replication(&settings.slot, &settings.publication, binary, streaming);
    let duplex = match sender.copy_both(&start).await {
        Ok(duplex) => duplex,
        Err(cause) => {
            let standing = look(&mut catalogue, settings).await?;
            let error = cause.server_error();
            return match (error, standing) {
                (Some(error), _) if error.is(state::IN_USE) => {
                    let holder = holder_of(&mut catalogue, settings).await?;
                    Ok(Take::Busy(identity, holder, patience_with(sender_timeout)))
                }
                (Some(error), None) if error.is(state::NO_OBJECT) => Ok(Take::Missing(identity)),
                (Some(_), Some(standing)) if standing.is_lost => Ok(lost(identity)),
                (Some(error), _) if error.is(state::NOT_IN_STATE) => Err(not_in_state(&mut catalogue, cause).await?),
                _ => Err(cause),
            };
        }
    };
    // From here on the slot is ours, and the replier says so while the rest is looked up.
    let replier = Replier::start(duplex.outgoing, sender_timeout);
    let Some(standing) = look(&mut catalogue, settings).await? else { return Ok(Take::Missing(identity)) };
    let confirmed = standing.confirmed.ok_or(Cause::Answer("a slot without a confirmed position"))?;
    replier.replies().flushed(confirmed);
    past.see_end(&mut catalogue).await?;
    let state = state_of(&mut catalogue, settings, confirmed).await?;
    let incoming = duplex.incoming;
    let exported = None;
    Ok(Take::Held(Box::new(Grip {
        identity,
        state,
        confirmed,
        past,
        incoming,
        replier,
        sender_timeout,
        binary,
        streaming,
        catalogue,
        exported,
    })))
}

/// A slot as it stands, looked at and not taken.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) identity: SourceIdentity,
    pub(crate) state: SlotState,
    pub(crate) confirmed: Lsn,
    pub(crate) past: Past,
}

/// What `take` would find, as far as that can be seen without taking it: for `check`, beside a pipeline that runs.
pub(crate) async fn sight(settings: &Settings) -> Result<Result<Sight, Take>, Cause> {
    let mut sender = connect(settings, Purpose::Replication).await?;
    let (identity, mut past) = identified(&mut sender, settings).await?;
    drop(sender);
    let mut catalogue = connect(settings, Purpose::Queries).await?;
    let standing = match look(&mut catalogue, settings).await? {
        None => return Ok(Err(Take::Missing(identity))),
        Some(standing) if standing.is_lost => return Ok(Err(lost(identity))),
        Some(standing) if standing.is_in_the_making() => return Err(making(&mut catalogue, settings, standing).await?),
        Some(standing) => standing,
    };
    let confirmed = standing.confirmed.ok_or(Cause::Answer("a slot without a confirmed position"))?;
    // Whoever reads it may have come further by the time at which the lake is looked at.
    if standing.holder.is_none() {
        past.see_end(&mut catalogue).await?;
    }
    let state = state_of(&mut catalogue, settings, confirmed).await?;
    Ok(Ok(Sight { identity, state, confirmed, past }))
}

fn lost(identity: SourceIdentity) -> Take {
    Take::Lost(identity, "the server no longer has the log that it needs".into())
}

async fn state_of(catalogue: &mut Session, settings: &Settings, confirmed: Lsn) -> Result<SlotState, Cause> {
    Ok(SlotState {
        confirmed: confirmed.position(),
        default_name: settings.slot_is_default,
        unreadable: unreadable(catalogue, settings).await?,
    })
}

async fn holder_of(catalogue: &mut Session, settings: &Settings) -> Result<String, Cause> {
    let standing = look(catalogue, settings).await?;
    Ok(standing.and_then(|it| it.holder).unwrap_or_else(|| "a process that has just left".into()))
}

/// What stands behind `object_not_in_prerequisite_state`, whose text is in the server's language.
async fn not_in_state(catalogue: &mut Session, cause: Cause) -> Result<Cause, Cause> {
    let level = catalogue.row(queries::PREFLIGHT).await?.text(0)?.to_owned();
    Ok(if level == "logical" { cause } else { Cause::WalLevel { level } })
}

async fn unreadable(catalogue: &mut Session, settings: &Settings) -> Result<Option<String>, Cause> {
    let stands = publication::stands(catalogue, settings).await?;
    Ok((!stands).then(|| format!("publication {} is missing", settings.publication)))
}

/// Whether every column that the connection will carry has a binary decoder.
async fn wants_binary(catalogue: &mut Session, settings: &Settings, without: Without) -> Result<bool, Cause> {
    if settings.binary == Binary::Off || without.binary || catalogue.version() < BINARY_SINCE {
        return Ok(false);
    }
    if settings.binary == Binary::On {
        return Ok(true);
    }
    let oids = publication::relations(catalogue, settings).await?;
    for page in oids.chunks(types::PAGE) {
        let columns = types::columns(catalogue, page).await?;
        if let Some(column) = columns.iter().find(|column| column.is_carried && column.base.is_text_only()) {
            tracing::info!(
                code = "PG-022",
                column = column.name,
                "values come as text: {} has no binary decoder",
                column.base.name
            );
            return Ok(false);
        }
    }
    Ok(true)
}

/// First start: publication, slot, and the slot taken. What a start that died half-way left is used.
pub(crate) async fn create(settings: &Settings, without: Without) -> Result<Take, Cause> {
    let mut session = connect(settings, Purpose::Queries).await?;
    if look(&mut session, settings).await?.is_some() {
        return take(settings, without).await;
    }
    publication::provide(&mut session, settings).await?;
    let exported = match make(&mut session, settings, true).await {
        Ok(exported) => Some(exported),
        Err(cause) if cause.server_error().is_some_and(|error| error.is(state::EXISTS)) => None,
        Err(cause) => return Err(cause),
    };
    let mut take = take(settings, without).await?;
    if let Take::Held(grip) = &mut take {
        grip.exported = exported;
    }
    Ok(take)
}

/// After a gap: drops the slot and makes a new one.
pub(crate) async fn recreate(settings: &Settings) -> Result<(SourceIdentity, Lsn), Cause> {
    let mut session = connect(settings, Purpose::Queries).await?;
    publication::refuse_theirs(&mut session, settings).await?;
    if let Some(standing) = look(&mut session, settings).await? {
        if standing.is_in_the_making() {
            return Err(making(&mut session, settings, standing).await?);
        }
        let in_use = |holder| Cause::SlotInUse { slot: settings.slot.clone(), holder };
        if let Some(holder) = standing.holder {
            return Err(in_use(holder));
        }
        match session.batch(&queries::drop_slot(&settings.slot)).await {
            Err(cause) if cause.server_error().is_some_and(|error| error.is(state::IN_USE)) => {
                return Err(in_use("another process".into()));
            }
            Err(cause) if cause.server_error().is_some_and(|error| error.is(state::NO_OBJECT)) => {}
            other => drop(other?),
        }
    }
    publication::provide(&mut session, settings).await?;
    let made = make(&mut session, settings, false).await?;
    let mut sender = made.session;
    let identity = identity_of(&sender.row(queries::IDENTIFY_SYSTEM).await?, &settings.slot)?;
    Ok((identity, made.position))
}

/// Makes a slot that ends with `sender`, with its snapshot; waits for every transaction that runs.
pub(crate) async fn make_temporary(mut sender: Session, name: &str) -> Result<Exported, Cause> {
    let row =
        sender.batch_or_cancel(&queries::create_temporary_slot(name)).await?.pop().and_then(|mut rows| rows.pop());
    exported(row, sender)
}

/// What the making of a slot answered.
fn exported(row: Option<Row>, session: Session) -> Result<Exported, Cause> {
    let row = row.ok_or(Cause::Answer("a new slot without its row"))?;
    let position = Lsn::parse(row.text(1)?).ok_or(Cause::Answer("a new slot without its position"))?;
    Ok(Exported { snapshot: row.get(2).unwrap_or_default().to_owned(), position, session })
}

/// Makes the slot; says who holds it up while it waits for every transaction that runs.
async fn make(session: &mut Session, settings: &Settings, export: bool) -> Result<Exported, Cause> {
    let mut sender = connect(settings, Purpose::Replication).await?;
    let sql = queries::create_slot(&settings.slot, export);
    let mut rows = {
        let mut making = std::pin::pin!(sender.batch_or_cancel(&sql));
        let mut wait = Wait::default();
        loop {
            match tokio::time::timeout(REMIND, &mut making).await {
                Ok(rows) => break rows,
                Err(_) => {
                    let standing = look(session, settings).await?;
                    wait.see(standing.as_ref().map_or(Shown::Absent, Standing::shown))?;
                    remind(session, settings).await?;
                }
            }
        }
    };
    if rows.as_ref().is_err_and(|cause| cause.server_error().is_some_and(|error| error.is(state::NOT_IN_STATE))) {
        rows = match rows {
            Err(cause) => Err(not_in_state(session, cause).await?),
            rows => rows,
        };
    }
    exported(rows?.pop().and_then(|mut rows| rows.pop()), sender)
}

pub(crate) async fn remind(session: &mut Session, settings: &Settings) -> Result<(), Cause> {
    let blockers = blockers(session).await?;
    tracing::warn!(code = "PG-026", slot = settings.slot, "the new slot waits for running transactions: {blockers}");
    Ok(())
}

/// Why a slot in the making cannot be taken.
pub(crate) async fn making(session: &mut Session, settings: &Settings, standing: Standing) -> Result<Cause, Cause> {
    let maker = standing.holder.unwrap_or_else(|| "a process that has just left".into());
    Ok(Cause::InTheMaking { slot: settings.slot.clone(), maker, blockers: blockers(session).await? })
}

/// Who holds up the making of a slot.
async fn blockers(session: &mut Session) -> Result<String, Cause> {
    let writers = session.query(queries::WRITERS).await?;
    let shown: Vec<_> = writers
        .iter()
        .map(|row| format!("{} since {}", row.get(0).unwrap_or("?"), row.get(1).unwrap_or("?")))
        .collect();
    Ok(if shown.is_empty() { "none that runs now".to_owned() } else { shown.join(", ") })
}

/// What `take` means after `create`: nothing but a slot that is held will do.
pub(crate) fn held(take: Take, settings: &Settings) -> Result<Box<Grip>, Fault> {
    let slot = settings.slot.clone();
    Err(match take {
        Take::Held(grip) => match &grip.state.unreadable {
            None => return Ok(grip),
            Some(_) => Cause::Unreadable { slot, publication: settings.publication.clone() },
        },
        Take::Missing(_) => Cause::SlotLost { slot, reason: "it was dropped as soon as it was made".into() },
        Take::Lost(_, reason) => Cause::SlotLost { slot, reason },
        Take::Busy(_, holder, _) => Cause::SlotInUse { slot, holder },
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_in_use_is_waited_for_as_long_as_a_dead_holder_can_keep_it() {
        assert_eq!(patience_with(Some(Duration::from_mins(1))), Duration::from_mins(2));
        assert_eq!(patience_with(Some(Duration::from_secs(20))), Duration::from_secs(40));
        // `wal_sender_timeout = 0`
        assert_eq!(patience_with(None), Duration::from_mins(2));
    }

    #[test]
    fn a_promotion_is_the_same_log_and_another_cluster_is_not() {
        let of = |identity: &str| SourceIdentity { kind: "postgres".into(), identity: identity.into() };
        assert!(same(&of("7312|timeline 1|slot s"), &of("7312|timeline 2|slot s")));
        assert!(!same(&of("7312|timeline 1|slot s"), &of("7313|timeline 1|slot s")));
        assert!(!same(&of("7312|timeline 1|slot s"), &of("7312|timeline 1|slot t")));
        assert!(!same(&of("7312|timeline 1|slot s"), &of("")));
    }
}
