//! What belongs to an account beside agents and pipelines: its projects and its audit log.

use super::{App, require};
use crate::auth::{Caller, Role};
use crate::db::accounts::{self, Named};
use crate::db::audit::{self, Line};
use crate::fault::Refused;

impl App {
    /// A page of the account's projects, and how many there are. An account has few.
    pub(crate) async fn projects(
        &self,
        caller: &Caller,
        (page, size): (i64, i64),
    ) -> Result<(Vec<Named>, i64), Refused> {
        let all = accounts::projects(self.db.pool(), &caller.account_id).await?;
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let whole = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok((all.into_iter().skip(whole(page.saturating_mul(size))).take(whole(size)).collect(), total))
    }

    /// A page of the account's audit log, the newest first, and how long it is.
    pub(crate) async fn audit_log(
        &self,
        caller: &Caller,
        (page, size): (i64, i64),
    ) -> Result<(Vec<Line>, i64), Refused> {
        require(caller, Role::Owner)?;
        audit::list(self.db.pool(), &caller.account_id, (size, page.saturating_mul(size))).await
    }
}
