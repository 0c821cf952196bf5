//! Signed assertions of who asks: JWTs that somebody else than the hub has made, an agent with its own key or an issuer.
//!
//! Nothing in a token says how it is to be verified: keys come from where the hub looks for them, the algorithm has to be one of
//! four and to fit the key, and `jwk`, `jku`, `x5u` are not looked at (RFC 8725).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL_SAFE;
use jsonwebtoken::crypto::verify;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use millrace_model::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// No assertion is longer. Tokens of clouds have 2 KiB.
const LONGEST: usize = 16 << 10;
/// Seconds that clocks may differ by.
pub(crate) const LEEWAY: i64 = 60;
/// What can be said of a claim in the log.
const SHOWN: usize = 200;
/// Bits of an RSA key, at least and at most: below it can be broken, above it costs.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// An assertion as it says itself. Nothing of it is true before [`Proof::is_signed_by`] said so.
#[derive(Debug)]
pub(crate) struct Proof<'a> {
    token: &'a str,
    algorithm: Algorithm,
    /// Which key it names.
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Value,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE.decode(text).ok()?).ok()
}

/// A claim for the log: on one line, and not longer than a person reads.
pub(crate) fn shown(claim: &Value) -> String {
    let text = claim.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

impl<'a> Proof<'a> {
    /// Reads it; the error says why it can be none.
    pub(crate) fn read(token: &'a str) -> Result<Self, String> {
        if token.len() > LONGEST {
            return Err(format!("it is longer than {} KiB", LONGEST >> 10));
        }
        let pieces: Vec<&str> = token.split('.').collect();
        let [header, claims, _signature] = pieces[..] else { return Err("it is no signed JWT".into()) };
        let header: Header = part(header).ok_or("its header is not that of a signed JWT")?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "ES384" => Algorithm::ES384,
            "EdDSA" => Algorithm::EdDSA,
            other => {
                let other = shown(&Value::from(other));
                return Err(format!("its algorithm is {other}; RS256, ES256, ES384 and EdDSA are taken"));
            }
        };
        if header.crit.is_some() {
            return Err("its header asks for an extension (`crit`) that is not known here".into());
        }
        let claims: Value = part(claims).filter(Value::is_object).ok_or("its claims are no JSON object")?;
        Ok(Self { token, algorithm, key_id: header.kid, claims })
    }

    /// A claim.
    pub(crate) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// A claim that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.claim(name)?.as_str()
    }

    /// A claim that is a time.
    pub(crate) fn time(&self, name: &str) -> Option<i64> {
        let claim = self.claim(name)?;
        // Some issuers write fractions of a second.
        claim.as_i64().or_else(|| claim.as_f64().filter(|seconds| seconds.abs() < 1e12).map(|seconds| seconds as i64))
    }

    /// Whether one of these is whom it is for.
    pub(crate) fn is_for(&self, audiences: &[&str]) -> bool {
        match self.claim("aud") {
            Some(Value::String(one)) => audiences.contains(&one.as_str()),
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).any(|one| audiences.contains(&one)),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
        }
    }

    /// What is wrong with its times, by the hub's clock; else when it ends.
    pub(crate) fn end(&self, now: Timestamp) -> Result<i64, String> {
        let now = now.0.div_euclid(1_000_000);
        let end = self.time("exp").ok_or("it has no `exp`")?;
        if end <= now - LEEWAY {
            return Err(format!("it has expired {} s ago", now - end));
        }
        for name in ["nbf", "iat"] {
            match (self.claim(name), self.time(name)) {
                (Some(_), None) => return Err(format!("its `{name}` is no time")),
                (_, Some(begin)) if begin > now + LEEWAY => {
                    return Err(format!(
                        "it is not yet valid: its `{name}` is {} s ahead of the hub's clock",
                        begin - now
                    ));
                }
                _ => {}
            }
        }
        Ok(end)
    }

    /// Whether this key has signed it.
    pub(crate) fn is_signed_by(&self, key: &Jwk) -> bool {
        if algorithm_of(key) != Some(self.algorithm) {
            return false;
        }
        let (Ok(key), Some((said, signature))) = (DecodingKey::from_jwk(key), self.token.rsplit_once('.')) else {
            return false;
        };
        // The signature alone: claims are looked at one by one, so that it can be said which is wrong.
        verify(signature, said.as_bytes(), &key, self.algorithm).unwrap_or(false)
    }
}

/// The one algorithm that signatures of this key have; none where it is no key for signatures, or a weak one.
pub(crate) fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    if key.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &key.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE.decode(&rsa.n).ok()?;
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let first = modulus.get(zeros)?;
            let bits = (modulus.len() - zeros) * 8 - first.leading_zeros() as usize;
            RSA_BITS.contains(&bits).then_some(Algorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(point) => {
            let (algorithm, length) = match point.curve {
                EllipticCurve::P256 => (Algorithm::ES256, 32),
                EllipticCurve::P384 => (Algorithm::ES384, 48),
                EllipticCurve::P521 | EllipticCurve::Ed25519 | _ => return None,
            };
            (has(&point.x, length) && has(&point.y, length)).then_some(algorithm)
        }
        AlgorithmParameters::OctetKeyPair(pair) => {
            (pair.curve == EllipticCurve::Ed25519 && has(&pair.x, 32)).then_some(Algorithm::EdDSA)
        }
        // Also a shared secret, which is no proof of anything here.
        AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) | _ => None,
    }?;
    key.common.key_algorithm.is_none_or(|named| named == algorithm.into()).then_some(algorithm)
}

/// Whether a coordinate has so many bytes.
fn has(coordinate: &str, length: usize) -> bool {
    URL_SAFE.decode(coordinate).is_ok_and(|bytes| bytes.len() == length)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(header: &Value, claims: &Value) -> String {
        format!("{}.{}.AAAA", URL_SAFE.encode(header.to_string()), URL_SAFE.encode(claims.to_string()))
    }

    #[test]
    fn what_is_no_signed_token_of_a_known_algorithm_is_refused_with_the_reason() {
        for (header, said) in [
            (json!({"alg": "none"}), "\"none\""),
            (json!({"alg": "HS256"}), "\"HS256\""),
            (json!({"alg": "PS256"}), "\"PS256\""),
            (json!({"alg": "EdDSA", "crit": ["x"]}), "crit"),
            (json!({}), "header"),
        ] {
            let refused = Proof::read(&token(&header, &json!({}))).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
        for text in ["", "a.b", "a.b.c", "a.b.c.d.e", &"x".repeat(20_000)] {
            assert!(Proof::read(text).is_err(), "{text}");
        }
        assert!(Proof::read(&token(&json!({"alg": "EdDSA"}), &json!([]))).is_err());
    }

    #[test]
    fn times_are_judged_by_the_hubs_clock_with_a_minute_of_grace() {
        let at = |claims: Value| {
            let token = token(&json!({"alg": "ES256"}), &claims);
            Proof::read(&token).unwrap().end(Timestamp(1_000_000_000_000))
        };
        let now = 1_000_000;
        assert_eq!(at(json!({"exp": now - 59})), Ok(now - 59));
        assert!(at(json!({"exp": now - 60})).unwrap_err().contains("expired"));
        assert!(at(json!({})).unwrap_err().contains("exp"));
        assert!(at(json!({"exp": "soon"})).unwrap_err().contains("exp"));
        assert_eq!(at(json!({"exp": now + 5, "nbf": now + 60, "iat": now})), Ok(now + 5));
        for name in ["nbf", "iat"] {
            assert!(at(json!({"exp": now + 500, name: now + 61})).unwrap_err().contains("not yet valid"));
            assert!(at(json!({"exp": now + 500, name: "x"})).unwrap_err().contains(name));
        }
    }

    #[test]
    fn a_key_has_one_algorithm_and_a_weak_or_a_shared_one_has_none() {
        let of = |key: Value| algorithm_of(&serde_json::from_value(key).unwrap());
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
        assert_eq!(of(ed.clone()), Some(Algorithm::EdDSA));
        for (name, value) in [("use", "enc"), ("alg", "RS256"), ("alg", "HS256")] {
            let mut other = ed.clone();
            other[name] = value.into();
            assert_eq!(of(other), None, "{name} {value}");
        }
        let rsa = |bytes: usize| json!({"kty": "RSA", "e": "AQAB", "n": URL_SAFE.encode(vec![0xff_u8; bytes])});
        assert_eq!(of(rsa(256)), Some(Algorithm::RS256));
        assert_eq!(of(rsa(128)), None);
        assert_eq!(of(rsa(1024)), None);
        assert_eq!(of(json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})), None);
        assert_eq!(of(json!({"kty": "oct", "k": "AAAA"})), None);
        assert_eq!(of(json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"})), None);
    }
}
