//! Lists that are filtered and ordered. A status is computed and not stored, so these look at all of an account; a list without
//! filter and order is cut into parts by the database.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::agents::last_seen;
use super::{App, status};
use crate::auth::Caller;
use crate::db::agents::{self, Agent};
use crate::db::part::{After, Found, Part};
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

/// Orders by what `row` says, and takes the part; and how many there are. `row`: the key to sort by, and the id, which is the order
/// of creation: those of one key stay in that both ways.
fn part_of<T>(all: Vec<T>, down: bool, row: impl Fn(&T) -> After, part: &Part) -> (Found<T>, i64) {
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let order = |one: &After, other: &After| {
        let by_key = one.key.cmp(&other.key);
        (if down { by_key.reverse() } else { by_key }).then_with(|| one.id.cmp(&other.id))
    };
    let mut rows: Vec<(After, T)> = all.into_iter().map(|one| (row(&one), one)).collect();
    rows.sort_by(|(one, _), (other, _)| order(one, other));
    let comes_after = |one: &After| part.after.as_ref().is_none_or(|after| order(one, after) == Ordering::Greater);
    let skipped = usize::try_from(part.offset()).unwrap_or(usize::MAX);
    let rows = rows.into_iter().filter(|(one, _)| comes_after(one)).skip(skipped).collect();
    let Found { rows, next } = Found::new(rows, part, |(one, _)| one.clone());
    (Found { rows: rows.into_iter().map(|(_, one)| one).collect(), next }, total)
}

impl App {
    /// A part of the account's agents that the filter lets through, and how many there are.
    pub(crate) async fn agents_like(
        &self,
        caller: &Caller,
        filter: &Filter,
        part: &Part,
    ) -> Result<(Found<Agent>, i64), Refused> {
        if filter.is_plain() {
            return self.agents(caller, part).await;
        }
        let now = self.now();
        let word = |agent: &Agent| status::of_agent(agent, now).as_str();
        let mut all = agents::list(self.db.pool(), &caller.account_id, &Part::first(MOST)).await?.rows;
        all.retain(|agent| {
            filter.has_status(word(agent))
                && filter.cloud_provider.as_deref().is_none_or(|cloud| agent.cloud_provider == cloud)
                && filter.finds(&[&agent.name, &agent.description])
        });
        let (sort, down) = filter.sort.unwrap_or(("created", false));
        let key = |agent: &Agent| match sort {
            "name" => agent.name.to_lowercase(),
            "status" => word(agent).to_owned(),
            // As wide as any time, so that texts are in its order; whoever was never seen before all of them.
            "lastSeen" => last_seen(agent).map_or_else(String::new, |at| format!("{:019}", at.0)),
            _ => agent.id.clone(),
        };
        Ok(part_of(all, down, |agent| After { key: key(agent), id: agent.id.clone() }, part))
    }

    /// The same of the project's pipelines.
    pub(crate) async fn pipelines_like(
        &self,
        caller: &Caller,
        project_id: &str,
        filter: &Filter,
        part: &Part,
    ) -> Result<(Found<Pipeline>, i64), Refused> {
        if filter.is_plain() {
            return self.pipelines(caller, project_id, part).await;
        }
        self.project_of(caller, project_id).await?;
        let now = self.now();
        let agents = agents::list(self.db.pool(), &caller.account_id, &Part::first(MOST)).await?.rows;
        let agents: HashMap<&str, &Agent> = agents.iter().map(|agent| (agent.id.as_str(), agent)).collect();
        let all = pipelines::list(self.db.pool(), project_id, &Part::first(MOST)).await?.rows;
        let with_status = all.into_iter().map(|pipeline| {
            let agent = agents.get(pipeline.agent_id.as_str()).copied();
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
        let key = |pipeline: &Pipeline, word: &str| match sort {
            "name" => pipeline.name.to_lowercase(),
            "status" => word.to_owned(),
            _ => pipeline.id.clone(),
        };
        let row = |(pipeline, word): &(Pipeline, String)| After { key: key(pipeline, word), id: pipeline.id.clone() };
        let (Found { rows, next }, total) = part_of(wanted, down, row, part);
        Ok((Found { rows: rows.into_iter().map(|(pipeline, _)| pipeline).collect(), next }, total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_once_by_whichever_order_and_whoever_goes_meanwhile() {
        // Three names, each of several rows.
        let all: Vec<(String, usize)> =
            (0..10).map(|at| (["b", "a", "c"].map(str::to_owned)[at % 3].clone(), at)).collect();
        let row = |(name, at): &(String, usize)| After { key: name.clone(), id: format!("{at:02}") };
        for down in [false, true] {
            let (whole, total) = part_of(all.clone(), down, row, &Part::first(100));
            assert_eq!((whole.rows.len(), whole.next, total), (10, None, 10));
            let (mut seen, mut part, mut left) = (Vec::new(), Part::first(3), all.clone());
            loop {
                let (found, _) = part_of(left.clone(), down, row, &part);
                seen.extend(found.rows);
                let Some(next) = found.next else { break };
                // The row that was the last one goes: the others come all the same.
                left.retain(|one| row(one) != next);
                part = Part::after(Some(next), 3);
            }
            assert_eq!(seen, whole.rows, "down: {down}");
            let by_number: Vec<_> = (0..4)
                .flat_map(|page| part_of(all.clone(), down, row, &Part { page, ..Part::first(3) }).0.rows)
                .collect();
            assert_eq!(by_number, whole.rows);
        }
    }
}
