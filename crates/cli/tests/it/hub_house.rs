//! A shop whose pipeline runs under a hub: what the tests of hub and agent share.

use std::path::PathBuf;
use std::time::Duration;

use millrace_testkit::hub::Hub;
use millrace_testkit::pipeline::Draft;
use millrace_testkit::postgres::Settings;
use millrace_testkit::process::{Invocation, Millrace};
use millrace_testkit::workload;
use serde_json::Value;

use crate::shop::{MILLRACE, PATIENCE, Shop, is_long};

/// The shop, its hub, and one pipeline with its first agent.
pub(crate) struct HubHouse {
    pub(crate) shop: Shop,
    pub(crate) hub: Hub,
    pub(crate) agent: String,
    pub(crate) pipeline: String,
    pub(crate) draft: Draft,
}

/// What such a process may find: no hub, no slot, another process in its place, a definition that it refuses.
const ALLOWED: [&str; 9] = ["retrying", "PG-012", "fault", "AG-013", "leaving", "AG-008", "EN-003", "EN-009", "EN-010"];

/// How long a lease lives, and a second process waits: short in the normal tier, as in the contract in the long one.
pub(crate) fn lease() -> Duration {
    Duration::from_secs(if is_long() { 45 } else { 4 })
}

impl HubHouse {
    /// Created and told to start; no agent runs yet.
    pub(crate) fn open() -> Self {
        Self::with(|draft| draft)
    }

    pub(crate) fn with(change: impl FnOnce(Draft) -> Draft) -> Self {
        Self::of(change, &[])
    }

    /// With more environment for the hub.
    pub(crate) fn with_variables(variables: &[(&str, &str)]) -> Self {
        Self::of(|draft| draft, variables)
    }

    fn of(change: impl FnOnce(Draft) -> Draft, variables: &[(&str, &str)]) -> Self {
        let mut kept = None;
        // A process that is stopped loses its slot soon.
        let impatient = Settings::default().set("wal_sender_timeout", "3s");
        let shop = Shop::with(impatient, &workload::TABLES, |quick| {
            let draft = change(quick);
            kept = Some(draft.clone());
            draft
        });
        let draft = kept.unwrap();
        let short: &[_] = &[("HUB_TEST_LEASE_SECONDS", "4"), ("HUB_TEST_POLL_SECONDS", "1")];
        let variables = [if is_long() { &[] } else { short }, variables].concat();
        let hub = Hub::with(MILLRACE.as_ref(), shop.folder(), &variables).unwrap();
        let agent = hub.add_agent("north").unwrap();
        let pipeline = hub.add_pipeline(&draft.body(&agent, shop.folder())).unwrap();
        hub.command(&pipeline, "START").unwrap();
        Self { shop, hub, agent, pipeline, draft }
    }

    /// The pipeline's body for an agent.
    pub(crate) fn body(&self, agent: &str) -> Value {
        self.draft.body(agent, self.shop.folder())
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.shop.folder().join(name)
    }

    /// A process of an agent, which may find its hub away, and another one in its place.
    pub(crate) fn process(&self, agent: &str, state: &str) -> Invocation {
        let process = self.hub.agent(agent, &self.state(state)).unwrap();
        let process = ALLOWED.into_iter().fold(process, Invocation::allow);
        if is_long() { process } else { process.env("AGENT_TEST_PATIENCE_SECONDS", "6") }
    }

    /// The first agent's process, once the hub says that it streams.
    pub(crate) fn streaming(&self) -> Millrace {
        let process = self.process(&self.agent, "state").start().unwrap();
        self.wait("STREAMING");
        process
    }

    /// Waits for a status of the pipeline.
    pub(crate) fn wait(&self, status: &str) {
        self.hub.wait_for_pipeline(&self.pipeline, status, PATIENCE).unwrap();
    }

    /// Lets everything arrive, ends the process, and compares lake and source row by row.
    pub(crate) fn settle(&self, process: Millrace) {
        self.shop.wait_until_released();
        process.stop(PATIENCE).unwrap();
        self.shop.fsck();
        self.shop.compare();
    }

    /// Whether the hub's database holds these bytes anywhere.
    pub(crate) fn hub_holds(&self, text: &str) -> bool {
        let files = std::fs::read_dir(self.hub.storage()).unwrap();
        files
            .filter_map(|file| std::fs::read(file.unwrap().path()).ok())
            .any(|bytes| bytes.windows(text.len()).any(|piece| piece == text.as_bytes()))
    }
}
