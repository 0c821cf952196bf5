//! An agent's public key, as people bring it: PEM as `openssl pkey -pubout` writes it, or a JWK. The private half never comes here.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as URL_SAFE};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::proof::algorithm_of;

/// Longest text: an RSA key of 4096 bits fits in.
const LONGEST: usize = 8 << 10;
/// What a public key in PEM begins and ends with (RFC 7468, section 13).
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// `SubjectPublicKeyInfo` up to the key's own bytes, where it has a fixed length (RFC 8410, RFC 5480).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const P256: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// The algorithm of a key of RSA (RFC 3279, section 2.3.1).
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// A key that assertions of an agent are verified with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublicKey {
    /// Only what the key is made of.
    pub(crate) jwk: Jwk,
}

const FORM: &str = "must be a public key of Ed25519, P-256 or RSA (2048 to 4096 bits): PEM that begins with \
                    -----BEGIN PUBLIC KEY-----, or a JWK";

impl PublicKey {
    /// Reads it; the error is what to say at its field.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.contains("PRIVATE KEY") {
            return Err(PRIVATE.into());
        }
        if text.len() > LONGEST {
            return Err(FORM.into());
        }
        let parts = if text.starts_with('{') { of_json(text)? } else { of_pem(text).ok_or(FORM)? };
        let jwk: Jwk = serde_json::from_value(parts).map_err(|_hidden| FORM.to_owned())?;
        // P-384 is for issuers; an agent's own key has one of the three that its side can make.
        match algorithm_of(&jwk) {
            Some(jsonwebtoken::Algorithm::ES384) | None => Err(FORM.into()),
            Some(_) => Ok(Self { jwk }),
        }
    }

    /// `EdDSA`, `ES256`, `RS256`.
    pub(crate) fn algorithm(&self) -> String {
        algorithm_of(&self.jwk).map(|algorithm| format!("{algorithm:?}")).unwrap_or_default()
    }

    /// What people tell it by (RFC 7638, SHA-256).
    pub(crate) fn thumbprint(&self) -> String {
        self.jwk.thumbprint(ThumbprintHash::SHA256).unwrap_or_default()
    }
}

const PRIVATE: &str = "is a private key: it must not leave the agent. Make a new pair, and bring the public half alone";

fn of_json(text: &str) -> Result<Value, String> {
    let sent: Value = serde_json::from_str(text).map_err(|_hidden| FORM.to_owned())?;
    if ["d", "p", "q", "k"].iter().any(|name| sent.get(name).is_some()) {
        return Err(PRIVATE.into());
    }
    let kept = ["kty", "crv", "x", "y", "n", "e"];
    let parts = kept.iter().filter_map(|name| Some(((*name).to_owned(), sent.get(name)?.clone())));
    Ok(Value::Object(parts.collect()))
}

fn of_pem(text: &str) -> Option<Value> {
    let body: String = text.strip_prefix(BEGIN)?.strip_suffix(END)?.split_whitespace().collect();
    let der = BASE64.decode(body).ok()?;
    if let Some(x) = der.strip_prefix(&ED25519).filter(|key| key.len() == 32) {
        return Some(json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE.encode(x)}));
    }
    if let Some((x, y)) = der.strip_prefix(&P256).filter(|key| key.len() == 64).and_then(|key| key.split_at_checked(32))
    {
        return Some(json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE.encode(x), "y": URL_SAFE.encode(y)}));
    }
    let (n, e) = rsa(&der)?;
    Some(json!({"kty": "RSA", "n": URL_SAFE.encode(n), "e": URL_SAFE.encode(e)}))
}

/// Modulus and exponent of a key of RSA (RFC 8017, appendix A.1.1).
fn rsa(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, rest) = element(der, 0x30)?;
    let (bits, end) = element(info.strip_prefix(&RSA)?, 0x03)?;
    let (key, after) = element(bits.strip_prefix(&[0_u8])?, 0x30)?;
    let (modulus, exponent) = element(key, 0x02)?;
    let (exponent, last) = element(exponent, 0x02)?;
    let is_whole = rest.is_empty() && end.is_empty() && after.is_empty() && last.is_empty();
    is_whole.then(|| (without_zero(modulus), without_zero(exponent)))
}

/// A number is written with a zero before it where it would look negative.
fn without_zero(number: &[u8]) -> &[u8] {
    number.strip_prefix(&[0_u8]).unwrap_or(number)
}

/// The content of the first element, if it has this tag, and what follows it (X.690, sections 8.1.2 and 8.1.3).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() <= 3)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length).filter(|_| found == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_openssl_writes_it_and_as_a_jwk() {
        // RFC 8410, section 10.1; its JWK is that of RFC 8037, appendix A.2, in another encoding.
        let ed = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let key = PublicKey::read(ed).unwrap();
        assert_eq!(key.algorithm(), "EdDSA");
        // RFC 7638, section 3.1.
        let rsa = json!({"kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
        let key = PublicKey::read(&rsa.to_string()).unwrap();
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(key.algorithm(), "RS256");
        // The same in PEM, by this file's own reader.
        let n = URL_SAFE.decode(rsa["n"].as_str().unwrap()).unwrap();
        let key_der =
            [&[0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00][..], &n, &[0x02, 0x03, 1, 0, 1]].concat();
        let der = [&[0x30, 0x82, 0x01, 0x22][..], &RSA, &[0x03, 0x82, 0x01, 0x0f, 0x00], &key_der].concat();
        let pem = format!("{BEGIN}\n{}\n{END}", BASE64.encode(&der));
        assert_eq!(PublicKey::read(&pem).unwrap(), key);
        assert!(PublicKey::read(&format!("{BEGIN}\n{}\n{END}", BASE64.encode(&der[..der.len() - 1]))).is_err());
    }

    #[test]
    fn a_private_key_is_refused_with_what_to_do() {
        let jwk = r#"{"kty":"OKP","crv":"Ed25519","d":"hidden","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        for text in
            ["-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----", jwk, r#"{"kty":"oct","k":"hidden"}"#]
        {
            let said = PublicKey::read(text).unwrap_err();
            assert!(said.contains("private") && !said.contains("hidden"), "{said}");
        }
    }

    #[test]
    fn what_is_no_key_or_a_weak_one_is_refused() {
        let weak = json!({"kty": "RSA", "e": "AQAB", "n": URL_SAFE.encode([0xff_u8; 128])}).to_string();
        let p384 = json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}).to_string();
        for text in
            ["", "x", "{}", "[]", weak.as_str(), &p384, "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----"]
        {
            assert!(PublicKey::read(text).unwrap_err().contains("must be a public key"), "{text}");
        }
    }
}
