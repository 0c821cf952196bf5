//! Who is told of what, and the messages that are on their way to them.

use millrace_model::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use crate::fault::Refused;

/// A webhook or an e-mail address.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    pub(crate) id: String,
    pub(crate) account_id: String,
    /// `webhook` or `email`.
    pub(crate) kind: String,
    pub(crate) address: String,
    /// Words of `app::recipients::EVENTS`.
    pub(crate) events: Vec<String>,
    /// What a webhook's messages are signed with.
    pub(crate) sealed: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) created_by: String,
    /// When a message arrived last.
    pub(crate) reached_at: Option<Timestamp>,
    /// Why the last one did not, and when.
    pub(crate) trouble: Option<(String, Timestamp)>,
}

const SELECT: &str = "SELECT id, account_id, kind, address, events, sealed, created_at, created_by, reached_at, trouble, \
     trouble_at FROM recipients ";

fn recipient(row: &AnyRow) -> Recipient {
    let time = |name| row.get::<Option<i64>, _>(name).map(Timestamp);
    Recipient {
        id: row.get("id"),
        account_id: row.get("account_id"),
        kind: row.get("kind"),
        address: row.get("address"),
        events: row.get::<String, _>("events").split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        sealed: row.get("sealed"),
        created_at: Timestamp(row.get("created_at")),
        created_by: row.get("created_by"),
        reached_at: time("reached_at"),
        trouble: row.get::<Option<String>, _>("trouble").zip(time("trouble_at")),
    }
}

/// A new one.
pub(crate) async fn insert<'e>(on: impl Executor<'e, Database = Any>, new: &Recipient) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO recipients (id, account_id, kind, address, events, sealed, created_at, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&new.id)
    .bind(&new.account_id)
    .bind(&new.kind)
    .bind(&new.address)
    .bind(new.events.join(" "))
    .bind(new.sealed.as_deref())
    .bind(new.created_at.0)
    .bind(&new.created_by)
    .execute(on)
    .await?;
    Ok(())
}

/// The account's, by creation.
pub(crate) async fn list<'e>(
    on: impl Executor<'e, Database = Any>,
    account_id: &str,
) -> Result<Vec<Recipient>, Refused> {
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}WHERE account_id = $1 AND removed_at IS NULL ORDER BY id")))
            .bind(account_id)
            .fetch_all(on)
            .await?;
    Ok(rows.iter().map(recipient).collect())
}

/// The one of that id, unless it is removed.
pub(crate) async fn of_id<'e>(on: impl Executor<'e, Database = Any>, id: &str) -> Result<Option<Recipient>, Refused> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT}WHERE id = $1 AND removed_at IS NULL")))
        .bind(id)
        .fetch_optional(on)
        .await?;
    Ok(row.as_ref().map(recipient))
}

/// Changes of what it is told.
pub(crate) async fn choose<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    (address, events): (&str, &[String]),
) -> Result<(), Refused> {
    sqlx::query("UPDATE recipients SET address = $2, events = $3 WHERE id = $1")
        .bind(id)
        .bind(address)
        .bind(events.join(" "))
        .execute(on)
        .await?;
    Ok(())
}

/// Removes it; what is on its way to it is not sent any more.
pub(crate) async fn remove<'e>(on: impl Executor<'e, Database = Any>, id: &str, at: Timestamp) -> Result<(), Refused> {
    sqlx::query("UPDATE recipients SET removed_at = $2, sealed = NULL WHERE id = $1")
        .bind(id)
        .bind(at.0)
        .execute(on)
        .await?;
    Ok(())
}

/// A message has arrived, or why it has not.
pub(crate) async fn outcome<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
    trouble: Option<&str>,
    at: Timestamp,
) -> Result<(), Refused> {
    let sql = match trouble {
        None => "UPDATE recipients SET reached_at = $2, trouble = $3, trouble_at = NULL WHERE id = $1",
        Some(_) => "UPDATE recipients SET trouble_at = $2, trouble = $3 WHERE id = $1",
    };
    sqlx::query(sql).bind(id).bind(at.0).bind(trouble).execute(on).await?;
    Ok(())
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) recipient_id: String,
    pub(crate) account_id: String,
    pub(crate) body: String,
    pub(crate) created_at: Timestamp,
    pub(crate) attempts: i64,
    pub(crate) due_at: Timestamp,
}

/// Sends it on its way.
pub(crate) async fn send<'e>(on: impl Executor<'e, Database = Any>, new: &Delivery) -> Result<(), Refused> {
    sqlx::query(
        "INSERT INTO deliveries (id, recipient_id, body, created_at, attempts, due_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&new.id)
    .bind(&new.recipient_id)
    .bind(&new.body)
    .bind(new.created_at.0)
    .bind(new.attempts)
    .bind(new.due_at.0)
    .execute(on)
    .await?;
    Ok(())
}

/// Messages whose time has come, the oldest first: so many of a recipient, of an account, and in all. However many wait for one,
/// those of another are seen.
pub(crate) async fn due<'e>(
    on: impl Executor<'e, Database = Any>,
    now: Timestamp,
    (of_one, of_account, most): (i64, i64, i64),
) -> Result<Vec<Delivery>, Refused> {
    let rows = sqlx::query(
        "SELECT id, recipient_id, account_id, body, created_at, attempts, due_at FROM (\
         SELECT own.*, ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY due_at, id) AS in_account FROM (\
         SELECT d.id, d.recipient_id, r.account_id, d.body, d.created_at, d.attempts, d.due_at, \
         ROW_NUMBER() OVER (PARTITION BY d.recipient_id ORDER BY d.due_at, d.id) AS in_one \
         FROM deliveries d JOIN recipients r ON r.id = d.recipient_id WHERE d.ended_at IS NULL AND d.due_at <= $1\
         ) AS own WHERE in_one <= $2) AS seen WHERE in_account <= $3 ORDER BY due_at, id LIMIT $4",
    )
    .bind(now.0)
    .bind(of_one)
    .bind(of_account)
    .bind(most)
    .fetch_all(on)
    .await?;
    let delivery = |row: &AnyRow| Delivery {
        id: row.get("id"),
        recipient_id: row.get("recipient_id"),
        account_id: row.get("account_id"),
        body: row.get("body"),
        created_at: Timestamp(row.get("created_at")),
        attempts: row.get("attempts"),
        due_at: Timestamp(row.get("due_at")),
    };
    Ok(rows.iter().map(delivery).collect())
}

/// Takes a message for one attempt: its next time is `next`, also if this process dies meanwhile. Whether no other hub process
/// has taken it.
pub(crate) async fn attempt<'e>(
    on: impl Executor<'e, Database = Any>,
    delivery: &Delivery,
    next: Timestamp,
) -> Result<bool, Refused> {
    let taken = sqlx::query(
        "UPDATE deliveries SET attempts = attempts + 1, due_at = $3 \
         WHERE id = $1 AND attempts = $2 AND ended_at IS NULL",
    )
    .bind(&delivery.id)
    .bind(delivery.attempts)
    .bind(next.0)
    .execute(on)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// It has arrived, or nobody will try again.
pub(crate) async fn ended<'e>(on: impl Executor<'e, Database = Any>, id: &str, at: Timestamp) -> Result<(), Refused> {
    sqlx::query("UPDATE deliveries SET ended_at = $2 WHERE id = $1").bind(id).bind(at.0).execute(on).await?;
    Ok(())
}
