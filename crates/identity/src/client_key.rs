//! A key of the process's own, with which it signs in where the public half is known (RFC 7523, `private_key_jwt`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millrace_model::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde_json::json;

use crate::jwt::{Algorithm, Key, block, signed};
use crate::time::unix;

/// Life of an assertion, in seconds: it is used at once.
const LIFE: i64 = 60;

/// A private key of Ed25519, P-256 or RSA. Its memory is ring's; nothing shows it.
pub struct ClientKey(Kind);

enum Kind {
    Ed25519(Ed25519KeyPair),
    P256(Box<EcdsaKeyPair>),
    Rsa(Key),
}

impl ClientKey {
    /// Out of PEM, as `openssl genpkey` writes it. The error says why not, and never what is there.
    pub fn of_pem(pem: &str) -> Result<Self, String> {
        if pem.contains("BEGIN EC PRIVATE KEY") {
            return Err("its key is in the form of old: convert it with `openssl pkcs8 -topk8 -nocrypt`".into());
        }
        let Some(der) = block(pem, "PRIVATE KEY") else {
            return match Key::of_pem(pem) {
                Ok(key) => Ok(Self(Kind::Rsa(key))),
                Err(why) if why.contains("encrypted") => Err(why),
                Err(_) => Err("it has no private key in PEM (`-----BEGIN PRIVATE KEY-----`)".into()),
            };
        };
        let der = der?;
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Ok(Self(Kind::Ed25519(key)));
        }
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new()) {
            return Ok(Self(Kind::P256(Box::new(key))));
        }
        let key = Key::of_pem(pem).map_err(|_other| "its key is none of Ed25519, P-256 or RSA".to_owned())?;
        Ok(Self(Kind::Rsa(key)))
    }

    /// A new assertion that it is this client who asks; for one use, within a minute.
    pub fn assertion(&self, client_id: &str, audience: &str, now: Timestamp) -> Result<String, String> {
        let random = SystemRandom::new();
        let mut id = [0; 16];
        random.fill(&mut id).map_err(|_unspecified| "there are no random numbers".to_owned())?;
        let now = unix(now);
        let claims = json!({"iss": client_id, "sub": client_id, "aud": audience, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now, "exp": now + LIFE});
        match &self.0 {
            Kind::Rsa(key) => key.sign(Algorithm::Rs256, json!({}), &claims),
            Kind::Ed25519(key) => signed("EdDSA", json!({}), &claims, |said| Ok(key.sign(said).as_ref().to_vec())),
            Kind::P256(key) => signed("ES256", json!({}), &claims, |said| {
                let signature = key.sign(&random, said).map_err(|_unspecified| "its key does not sign".to_owned())?;
                Ok(signature.as_ref().to_vec())
            }),
        }
    }
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Ed25519(_) => "ClientKey(Ed25519)",
            Kind::P256(_) => "ClientKey(P-256)",
            Kind::Rsa(_) => "ClientKey(RSA)",
        })
    }
}
