//! Thousands of agents at one hub, as far as the hub can tell: they sign in, take their pipelines, report and wait. Nothing
//! runs behind them. Measured is how long a sync takes beyond the time for which the hub held it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fault::{Fault, Result};
use crate::hub::Hub;

/// So many make agents at the same time, as an automation would.
const MAKERS: usize = 8;
/// What an agent asks for.
const HOLD_MS: u64 = 15_000;

/// What a crowd saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Beyond the time for which it was held, of each sync, shortest first.
    pub beyond: Vec<Duration>,
    /// Syncs and hellos that were not answered with 200.
    pub refused: usize,
}

impl Seen {
    /// The time that this part of all syncs stayed below.
    pub fn percentile(&self, part: f64) -> Duration {
        let last = self.beyond.len().saturating_sub(1);
        self.beyond.get((last as f64 * part) as usize).copied().unwrap_or_default()
    }
}

/// Agents that are known to a hub.
#[derive(Debug)]
pub struct Crowd {
    url: String,
    tokens: Vec<String>,
}

impl Crowd {
    /// Makes so many agents with a started pipeline each.
    pub fn gather(hub: &Hub, agents: usize) -> Result<Self> {
        let token = hub.token()?;
        let tokens = Mutex::new(Vec::new());
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let makers: Vec<_> = (0..MAKERS)
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        loop {
                            let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            if number >= agents {
                                return Ok(());
                            }
                            let made = make(hub, &token, number)?;
                            tokens.lock().unwrap_or_else(PoisonError::into_inner).push(made);
                        }
                    })
                })
                .collect();
            makers.into_iter().try_for_each(|maker| {
                maker.join().unwrap_or_else(|_| Err(Fault::Unexpected("a maker of agents panicked".into())))
            })
        })?;
        Ok(Self { url: hub.url.clone(), tokens: tokens.into_inner().unwrap_or_else(PoisonError::into_inner) })
    }

    /// Lets them all report for so long, and says what they saw after the first `settling`.
    pub fn report(self, settling: Duration, time: Duration) -> Result<Seen> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(Fault::io("the runtime"))?;
        runtime.block_on(async {
            let http = Client::builder().build().map_err(crate::hub::of_http)?;
            let seen = Arc::new(Mutex::new(Seen::default()));
            let begins = Instant::now();
            let mut agents = JoinSet::new();
            let all = self.tokens.len() as u32;
            for (number, token) in self.tokens.into_iter().enumerate() {
                let one = One { http: http.clone(), url: self.url.clone(), token, seen: Arc::clone(&seen) };
                // Spread over one hold, as agents are that came one by one.
                let wait = Duration::from_millis(HOLD_MS) * number as u32 / all;
                agents.spawn(async move {
                    tokio::time::sleep(wait).await;
                    one.talk(begins + settling, begins + settling + time).await
                });
            }
            while let Some(ended) = agents.join_next().await {
                ended.map_err(|_error| Fault::Unexpected("a simulated agent panicked".into()))??;
            }
            let mut seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
            seen.beyond.sort_unstable();
            Ok(seen)
        })
    }
}

/// An agent with a started pipeline; its access token.
fn make(hub: &Hub, token: &str, number: usize) -> Result<String> {
    let name = format!("agent {number}");
    let body = json!({"name": name, "deployment": "fargate", "cloudProvider": "aws", "agentType": "streaming"});
    let created = hub.call_with(token, &Method::POST, "/agents", Some(&body))?.1;
    let agent = created.get("agentId").and_then(Value::as_str).unwrap_or_default().to_owned();
    let pipelines = format!("/projects/{}/streaming-pipelines", hub.project);
    let pipeline = json!({"name": format!("shop {number}"), "agentId": agent,
        "streamingSource": {"type": "postgres", "connection": {"host": "127.0.0.1", "port": 5432, "database": "shop",
            "username": "u"}, "tables": [{"schema": "public", "table": "orders"}]},
        "streamingTarget": {"type": "local", "path": "/lake", "format": "parquet", "layout": "flat"}});
    let created = hub.call_with(token, &Method::POST, &pipelines, Some(&pipeline))?.1;
    let id = created.get("streamingPipelineId").and_then(Value::as_str).unwrap_or_default();
    let start = json!({"command": "START"});
    hub.call_with(token, &Method::POST, &format!("{pipelines}/{id}/commands"), Some(&start))?;
    let credentials = hub.call_with(token, &Method::GET, &format!("/agents/{agent}/credentials"), None)?.1;
    let text = |name: &str| credentials.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    hub.token_of(&text("clientId"), &text("clientSecret"))
}

struct One {
    http: Client,
    url: String,
    token: String,
    seen: Arc<Mutex<Seen>>,
}

impl One {
    async fn call(&self, path: &str, body: &Value) -> Result<(bool, Value)> {
        let request = self.http.post(format!("{}/agent/v1/{path}", self.url)).bearer_auth(&self.token).json(body);
        let answer = request.send().await.map_err(crate::hub::of_http)?;
        let well = answer.status().is_success();
        Ok((well, answer.json().await.unwrap_or_default()))
    }

    async fn talk(self, from: Instant, until: Instant) -> Result<()> {
        let hello = json!({"protocol": 1, "instance": "one", "agentVersion": "0.1.0"});
        let (_, welcome) = self.call("session", &hello).await?;
        let session = welcome.get("sessionId").cloned().unwrap_or_default();
        let mut held = Value::Null;
        let mut sequence = 0_u64;
        while Instant::now() < until {
            sequence += 1;
            let sync = sync(&session, sequence, &held);
            let asked = Instant::now();
            let (well, answer) = self.call("sync", &sync).await?;
            let held_ms = answer.get("heldMs").and_then(Value::as_u64).unwrap_or_default();
            let beyond = asked.elapsed().saturating_sub(Duration::from_millis(held_ms));
            if asked >= from {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.beyond.push(beyond);
                seen.refused += usize::from(!well);
            }
            if let Some(pipeline) = answer.pointer("/desired/pipeline") {
                held = pipeline.clone();
            }
        }
        Ok(())
    }
}

#[expect(clippy::indexing_slicing, reason = "an object of our own making takes any member")]
fn sync(session: &Value, sequence: u64, held: &Value) -> Value {
    let now = "2026-01-01T00:00:00.000Z";
    let mut sync = json!({"sessionId": session, "sequence": sequence, "waitMs": HOLD_MS, "sentAt": now, "conditions": [],
            "process": {"since": now, "memoryBytes": 90_000_000, "cpuMilliseconds": sequence}});
    if !held.is_null() {
        let table =
            |number: u64| json!({"table": format!("public.t{number}"), "snapshot": "finished", "rows": sequence});
        sync["held"] = held.clone();
        sync["report"] = json!({"pipelineId": held["pipelineId"], "status": "STREAMING", "since": now,
            "revision": held["revision"], "wish": held["wish"], "epoch": held["epoch"],
            "checkpoint": {"commit": sequence, "position": "0/1", "sequence": sequence, "at": now},
            "countedSince": now, "figures": {"lag_seconds": 0.1, "rows_written_total": sequence, "rows_per_second": 100},
            "tables": (0..20).map(table).collect::<Vec<_>>()});
    }
    sync
}
