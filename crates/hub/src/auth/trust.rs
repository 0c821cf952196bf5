//! What an agent may sign in with beside a secret: a key of its own, or the word of an issuer that knows its workload.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::proof::{Proof, shown};
use super::public_key::PublicKey;

/// One way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Means {
    /// The agent signs assertions with the private half (RFC 7523).
    Key(PublicKey),
    /// An issuer's token that says all of this.
    Rule(Rule),
}

impl Means {
    /// Its word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Rule(_) => "rule",
        }
    }
}

/// What a token has to say. Everything is compared letter by letter; there are no patterns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) subject: String,
    /// Further claims. A name that begins with `/` is a JSON Pointer (RFC 6901) to a claim inside another one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) claims: BTreeMap<String, String>,
}

impl Rule {
    /// Which claim does not say what it has to; the issuer is the caller's to compare.
    pub(crate) fn mismatch(&self, proof: &Proof<'_>) -> Option<String> {
        if !proof.is_for(&[self.audience.as_str()]) {
            return Some(differs("aud", proof.claim("aud"), &self.audience));
        }
        if proof.text("sub") != Some(self.subject.as_str()) {
            return Some(differs("sub", proof.claim("sub"), &self.subject));
        }
        let other = self.claims.iter().find(|(name, wanted)| said(proof, name).as_ref() != Some(wanted));
        other.map(|(name, wanted)| differs(name, found(proof, name), wanted))
    }
}

fn found<'a>(proof: &'a Proof<'_>, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { proof.claims.pointer(name) } else { proof.claim(name) }
}

/// A claim as a text. Lists and objects are no value that could be meant.
fn said(proof: &Proof<'_>, name: &str) -> Option<String> {
    match found(proof, name)? {
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn differs(name: &str, found: Option<&Value>, wanted: &str) -> String {
    match found {
        Some(found) => format!("its `{name}` is {}, and the rule wants \"{wanted}\"", shown(found)),
        None => format!("it has no `{name}`, and the rule wants \"{wanted}\""),
    }
}
