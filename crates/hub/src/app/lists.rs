//! Lists that are filtered and ordered. A status is computed and not stored, so these look at all of an account; a list without
//! filter and order is cut into pages by the database.

use super::agents::last_seen;
use super::{App, status};
use crate::auth::Caller;
use crate::db::agents::{self, Agent};
use crate::db::pipelines::{self, Pipeline};
use crate::fault::Refused;

/// A list has so many at most.
const MOST: i64 = 10_000;

/// What is asked of a list; absent is all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// In capitals.
    pub(crate) status: Option<String>,
    /// In small letters.
    pub(crate) cloud_provider: Option<String>,
    pub(crate) agent_id: Option<String>,
    /// Part of a name or a description, whatever its case.
    pub(crate) q: Option<String>,
    /// A word of the list, and whether it goes down.
    pub(crate) sort: Option<(&'static str, bool)>,
}

impl Filter {
    fn is_plain(&self) -> bool {
        let none =
            self.status.is_none() && self.cloud_provider.is_none() && self.agent_id.is_none() && self.q.is_none();
        none && self.sort.is_none_or(|(word, down)| word == "created" && !down)
    }

    fn finds(&self, texts: &[&str]) -> bool {
        let Some(q) = &self.q else { return true };
        let q = q.to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&q))
    }

    fn has_status(&self, status: &str) -> bool {
        self.status.as_deref().is_none_or(|wanted| wanted == status)
    }
}

/// Orders by what `key` says, stably, and takes the page.
fn page_of<T, K: Ord>(mut all: Vec<T>, down: bool, key: impl Fn(&T) -> K, (page, size): (i64, i64)) -> (Vec<T>, i64) {
    // Equal ones stay in their order both ways.
    all.sort_by(|one, other| if down { key(other).cmp(&key(one)) } else { key(one).cmp(&key(other)) });
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let whole = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    (all.into_iter().skip(whole(page.saturating_mul(size))).take(whole(size)).collect(), total)
}

impl App {
    /// A page of the account's agents that the filter lets through, and how many there are.
    pub(crate) async fn agents_like(
        &self,
        caller: &Caller,
        filter: &Filter,
        page: (i64, i64),
    ) -> Result<(Vec<Agent>, i64), Refused> {
        if filter.is_plain() {
            return self.agents(caller, page.0, page.1).await;
        }
        let now = self.now();
        let word = |agent: &Agent| status::of_agent(agent, now).as_str();
        let mut all = agents::list(self.db.pool(), &caller.account_id, MOST, 0).await?;
        all.retain(|agent| {
            filter.has_status(word(agent))
                && filter.cloud_provider.as_deref().is_none_or(|cloud| agent.cloud_provider == cloud)
                && filter.finds(&[&agent.name, &agent.description])
        });
        let (sort, down) = filter.sort.unwrap_or(("created", false));
        Ok(match sort {
            "name" => page_of(all, down, |agent| agent.name.to_lowercase(), page),
            "status" => page_of(all, down, word, page),
            "lastSeen" => page_of(all, down, |agent| last_seen(agent).map(|at| at.0), page),
            _ => page_of(all, down, |agent| agent.id.clone(), page),
        })
    }

    /// The same of the project's pipelines.
    pub(crate) async fn pipelines_like(
        &self,
        caller: &Caller,
        project_id: &str,
        filter: &Filter,
        page: (i64, i64),
    ) -> Result<(Vec<Pipeline>, i64), Refused> {
        if filter.is_plain() {
            return self.pipelines(caller, project_id, page).await;
        }
        self.project_of(caller, project_id).await?;
        let now = self.now();
        let agents = agents::list(self.db.pool(), &caller.account_id, MOST, 0).await?;
        let all = pipelines::list(self.db.pool(), project_id, MOST, 0).await?;
        let with_status = all.into_iter().map(|pipeline| {
            let agent = agents.iter().find(|agent| agent.id == pipeline.agent_id);
            let word = status::of_pipeline(&pipeline, agent, now).word;
            (pipeline, word)
        });
        let wanted = with_status.filter(|(pipeline, word)| {
            filter.has_status(word)
                && filter.agent_id.as_deref().is_none_or(|id| pipeline.agent_id == id)
                && filter.finds(&[&pipeline.name])
        });
        let wanted: Vec<(Pipeline, String)> = wanted.collect();
        let (sort, down) = filter.sort.unwrap_or(("created", false));
        let (found, total) = match sort {
            "name" => page_of(wanted, down, |(pipeline, _)| pipeline.name.to_lowercase(), page),
            "status" => page_of(wanted, down, |(_, word)| word.clone(), page),
            _ => page_of(wanted, down, |(pipeline, _)| pipeline.id.clone(), page),
        };
        Ok((found.into_iter().map(|(pipeline, _)| pipeline).collect(), total))
    }
}
