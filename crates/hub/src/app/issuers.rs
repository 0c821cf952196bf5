//! The keys of issuers: fetched from where their discovery document says (OpenID Connect Discovery 1.0, RFC 7517), kept for a while,
//! fetched anew when a token names one that is not known.
//!
//! Only issuers that a rule of an agent names are ever asked. Whoever sends tokens can make the hub ask one of them every few seconds,
//! and no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use millrace_model::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::outward::{self, Reach};
use crate::auth::lasts;
use crate::auth::proof::Proof;

/// Keys are used so long without a look whether there are others.
const FRESH: Duration = Duration::from_mins(10);
/// And so long where nobody answers.
const STALE: Duration = Duration::from_hours(1);
/// An issuer is not asked more often.
const PAUSE: Duration = Duration::from_secs(10);
/// Largest discovery document, and largest set of keys.
const DISCOVERY: usize = 64 << 10;
const KEY_SET: usize = 256 << 10;
/// Keys of an issuer. The largest clouds have ten.
const MOST_KEYS: usize = 100;
/// Issuers that are remembered at once.
const MOST: usize = 1000;

/// What is known of all of them.
#[derive(Default)]
pub(crate) struct Issuers {
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Issuer>>>>,
}

/// What is known of one.
#[derive(Default)]
struct Issuer {
    keys: Vec<Jwk>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
    /// Why the last try failed.
    trouble: String,
}

/// Why a token is not known to be the issuer's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// None of its keys has signed it.
    Unsigned(String),
    /// Its keys cannot be had now.
    Unreachable(String),
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Issuers {
    /// Whether the issuer has signed it.
    pub(crate) async fn verify(
        &self,
        proof: &Proof<'_>,
        issuer: &str,
        reach: Reach<'_>,
        now: Timestamp,
    ) -> Result<(), Doubt> {
        // One caller at a time asks; the others wait for what it is told.
        let entry = self.entry(issuer);
        let mut known = entry.lock().await;
        if !is_within(known.fetched_at, FRESH, now) {
            known.renew(issuer, reach, now).await;
        }
        if !is_within(known.fetched_at, STALE, now) {
            return Err(Doubt::Unreachable(known.trouble.clone()));
        }
        if known.signed(proof) {
            return Ok(());
        }
        // A key that is not known may be a new one.
        if !known.names(proof) {
            known.renew(issuer, reach, now).await;
            if known.signed(proof) {
                return Ok(());
            }
        }
        let named = proof.key_id.as_deref().map(|id| format!(" It names the key {}", Value::from(id)));
        Err(Doubt::Unsigned(format!(
            "its signature is by none of the {} keys of {issuer}.{}",
            known.keys.len(),
            named.unwrap_or_default()
        )))
    }

    fn entry(&self, issuer: &str) -> Arc<tokio::sync::Mutex<Issuer>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(issuer) {
            known.clear();
        }
        Arc::clone(known.entry(issuer.to_owned()).or_default())
    }
}

fn is_within(at: Option<Timestamp>, span: Duration, now: Timestamp) -> bool {
    at.is_some_and(|at| lasts(at, span, now))
}

impl Issuer {
    fn candidates<'a>(&'a self, proof: &'a Proof<'_>) -> impl Iterator<Item = &'a Jwk> {
        self.keys.iter().filter(|key| proof.key_id.is_none() || proof.key_id == key.common.key_id)
    }

    fn names(&self, proof: &Proof<'_>) -> bool {
        proof.key_id.is_some() && self.candidates(proof).next().is_some()
    }

    fn signed(&self, proof: &Proof<'_>) -> bool {
        self.candidates(proof).any(|key| proof.is_signed_by(key))
    }

    async fn renew(&mut self, issuer: &str, reach: Reach<'_>, now: Timestamp) {
        if is_within(self.tried_at, PAUSE, now) {
            return;
        }
        self.tried_at = Some(now);
        match keys_of(issuer, reach).await {
            Ok(keys) => (self.keys, self.fetched_at) = (keys, Some(now)),
            Err(why) => self.trouble = why,
        }
    }
}

async fn keys_of(issuer: &str, reach: Reach<'_>) -> Result<Vec<Jwk>, String> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let document = outward::fetch(&address, DISCOVERY, reach).await.map_err(|why| format!("{address}: {why}"))?;
    let known: Discovery = serde_json::from_slice(&document)
        .map_err(|_hidden| format!("{address} has no `issuer` and `jwks_uri` as OpenID Connect Discovery has them"))?;
    if known.issuer != issuer {
        return Err(format!("{address} says that it is the issuer {}, not {issuer}", Value::from(known.issuer)));
    }
    let address = known.jwks_uri;
    let set = outward::fetch(&address, KEY_SET, reach).await.map_err(|why| format!("{address}: {why}"))?;
    let set: KeySet = serde_json::from_slice(&set).map_err(|_hidden| format!("{address} holds no set of keys"))?;
    if set.keys.len() > MOST_KEYS {
        return Err(format!("{address} holds {} keys; {MOST_KEYS} are taken at most", set.keys.len()));
    }
    // A key of a kind that is not known here is none that could have signed.
    Ok(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
}
