//! Signing in without a secret: an assertion in, an access token out.
//!
//! An assertion whose issuer is the agent itself is verified with the agent's own keys (RFC 7523, `private_key_jwt`); any other with the
//! keys of its issuer, if a trust rule of the agent names that. Why one is refused stands in the log and under *Activity*; the caller
//! is told no more than that it is.

use sha2::{Digest, Sha256};
use tracing::info;

use super::issuers::Doubt;
use super::outward::Reach;
use super::{App, is_id};
use crate::auth::proof::{LEEWAY, Proof, shown};
use crate::auth::token::Audience;
use crate::auth::trust::{Means, Rule};
use crate::db::agents::{self, Agent};
use crate::db::audit;
use crate::db::trust::{self, Trust};
use crate::db::used::{self, Used};
use crate::fault::Refused;
use millrace_model::Timestamp;

/// Seconds that an agent's own assertion may be valid for: it is used at once.
const LIFE: i64 = 60;
/// Longest id of an assertion.
const LONGEST_ID: usize = 256;
/// What is said of a refusal at most.
const SAID: usize = 1000;

/// What becomes of an assertion.
pub(crate) enum Judged {
    /// A token.
    Token(String),
    /// `invalid_client`.
    Refused,
    /// It is right, and the agent that it is of was removed.
    Removed,
    /// Nobody can say now: the issuer's keys cannot be had.
    Later,
}

/// Why there is no token.
enum No {
    Refused(String),
    Removed,
    Later(String),
}

impl From<String> for No {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// An assertion that proves who asks.
struct Proven {
    trust_id: String,
    /// Id and end of one that may be used once.
    once: Option<(String, Timestamp)>,
}

impl App {
    /// A token for the agent that this assertion is of. Who fails too often in a minute is told to wait.
    pub(crate) async fn token_by_assertion(
        &self,
        client_id: Option<&str>,
        assertion: &str,
        address: &str,
    ) -> Result<Judged, Refused> {
        let read = Proof::read(assertion);
        // The agent's own assertion names it; an issuer's token cannot.
        let named = read.as_ref().ok().and_then(|proof| proof.text("sub"));
        let client_id = client_id.or(named).unwrap_or_default();
        let why = match self.proven(client_id, read.as_ref()).await? {
            // Who has proved to be that agent is told what has become of it.
            Ok((agent, _)) if agent.removed_at.is_some() => No::Removed,
            Ok((agent, proven)) => match self.taken(&agent, proven, address).await? {
                Some(token) => return Ok(Judged::Token(token)),
                None => No::Refused("its `jti` was used before: an assertion is taken once".into()),
            },
            Err(why) => why,
        };
        self.not_proven(client_id, address, why).await
    }

    /// Which agent it is, also a removed one, and which of its keys or rules the assertion fits.
    async fn proven(
        &self,
        client_id: &str,
        read: Result<&Proof<'_>, &String>,
    ) -> Result<Result<(Agent, Proven), No>, Refused> {
        let proof = match read {
            Ok(proof) => proof,
            Err(why) => return Ok(Err(No::Refused(why.clone()))),
        };
        let agent = if is_id(client_id) { agents::by_client(self.db.pool(), client_id).await? } else { None };
        let Some(agent) = agent else { return Ok(Err(No::Refused("no agent has this client id".into()))) };
        let known = trust::live(self.db.pool(), &agent.id).await?;
        let proven = if proof.text("iss") == Some(agent.client_id.as_str()) {
            self.by_key(proof, &agent, &known).map_err(No::Refused)
        } else {
            self.by_rule(proof, &known).await
        };
        Ok(proven.map(|proven| (agent, proven)))
    }

    fn by_key(&self, proof: &Proof<'_>, agent: &Agent, known: &[Trust]) -> Result<Proven, String> {
        let keys = known.iter().filter_map(|one| match &one.means {
            Means::Key(key) => Some((one, key)),
            Means::Rule(_) => None,
        });
        let keys: Vec<_> = keys.collect();
        let signer = keys.iter().find(|(_, key)| proof.is_signed_by(&key.jwk));
        let (signer, _) =
            signer.ok_or_else(|| format!("its signature is by none of the agent's {} keys", keys.len()))?;
        if proof.text("sub") != Some(agent.client_id.as_str()) {
            return Err(format!("its `sub` is not the client id that is its `iss`: {}", claim(proof, "sub")));
        }
        let url = &self.settings.public_url;
        let ours = [url.clone(), format!("{url}/oauth/dpc/token"), format!("{url}/oauth/token")];
        if !proof.is_for(&ours.each_ref().map(String::as_str)) {
            return Err(format!("its `aud` is {}, and this hub is {url}", claim(proof, "aud")));
        }
        let now = self.now();
        let end = proof.end(now)?;
        let longest = now.0.div_euclid(1_000_000) + LIFE + LEEWAY;
        if end > longest {
            return Err(format!("its `exp` is {} s too late: it may be valid for {LIFE} s", end - longest));
        }
        let id = proof.text("jti").filter(|id| (1..=LONGEST_ID).contains(&id.len()));
        let id = id.ok_or_else(|| format!("it has no `jti` of 1 to {LONGEST_ID} characters"))?;
        let digest = Sha256::digest(format!("{}\n{id}", agent.id).as_bytes());
        let hash = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        // As long as it could come again.
        let until = Timestamp(end.saturating_add(LEEWAY + 1).saturating_mul(1_000_000));
        Ok(Proven { trust_id: signer.id.clone(), once: Some((hash, until)) })
    }

    async fn by_rule(&self, proof: &Proof<'_>, known: &[Trust]) -> Result<Proven, No> {
        let issuer = proof.text("iss").ok_or_else(|| "it has no `iss`".to_owned())?;
        let rules = known.iter().filter_map(|one| match &one.means {
            Means::Rule(rule) if rule.issuer == issuer => Some((one, rule)),
            Means::Rule(_) | Means::Key(_) => None,
        });
        let rules: Vec<(&Trust, &Rule)> = rules.collect();
        if rules.is_empty() {
            return Err(format!("no trust rule of the agent names its issuer {}", claim(proof, "iss")).into());
        }
        let now = self.now();
        let reach = Reach::of_issuers(&self.settings.issuer_allow);
        self.issuers.verify(proof, issuer, reach, now).await.map_err(|doubt| match doubt {
            Doubt::Unsigned(why) => No::Refused(why),
            Doubt::Unreachable(why) => No::Later(format!("the keys of its issuer cannot be had: {why}")),
        })?;
        proof.end(now)?;
        let mut mismatches = Vec::new();
        for (one, rule) in rules {
            match rule.mismatch(proof) {
                None => return Ok(Proven { trust_id: one.id.clone(), once: None }),
                Some(why) => mismatches.push(format!("{}: {why}", one.name)),
            }
        }
        Err(mismatches.join("; ").into())
    }

    /// Takes the assertion and gives the token; none where it was taken before.
    async fn taken(&self, agent: &Agent, proven: Proven, address: &str) -> Result<Option<String>, Refused> {
        let now = self.now();
        let actor = format!("agent:{}", agent.id);
        let mut writing = self.db.write().await?;
        if let Some((hash, until)) = &proven.once
            && !trust::take(writing.on(), hash, *until, now).await?
        {
            return Ok(None);
        }
        used::note(writing.on(), (Used::Trust, &proven.trust_id), address, now).await?;
        let entry = audit::Entry {
            account_id: Some(&agent.account_id),
            actor: &actor,
            address,
            action: "token.issue",
            object: &actor,
            detail: &proven.trust_id,
            outcome: "done",
        };
        audit::add(writing.on(), entry, now).await?;
        writing.commit().await?;
        let subject = (agent.id.as_str(), agent.account_id.as_str(), proven.trust_id.as_str());
        self.tokens.issue(Audience::Gateway, subject, now).map(Some)
    }

    async fn not_proven(&self, client_id: &str, address: &str, why: No) -> Result<Judged, Refused> {
        let (why, judged, outcome) = match why {
            No::Refused(why) => (why, Judged::Refused, "invalid_client"),
            No::Removed => ("the agent was removed".to_owned(), Judged::Removed, "invalid_client"),
            No::Later(why) => (why, Judged::Later, "temporarily_unavailable"),
        };
        let why: String = why.chars().take(SAID).collect();
        let named = if is_id(client_id) { client_id } else { "unknown" };
        info!(code = "sign_in_refused", client = named, address, "an assertion gives no token: {why}");
        self.failed_sign_in(client_id, address, (&why, outcome)).await?;
        Ok(judged)
    }
}

fn claim(proof: &Proof<'_>, name: &str) -> String {
    proof.claim(name).map_or_else(|| "not there".into(), shown)
}
