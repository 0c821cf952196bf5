//! JSON Web Tokens that prove who signs in (RFC 7515, 7523): written and signed, never read.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use serde_json::Value;
use zeroize::Zeroizing;

/// How it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Ps256,
}

/// A private key of RSA. Its memory is ring's.
pub(crate) struct Key(RsaKeyPair);

impl Key {
    /// Out of PEM: `PRIVATE KEY` (PKCS #8) or `RSA PRIVATE KEY` (PKCS #1). The error says why not, and never what is there.
    pub(crate) fn of_pem(pem: &str) -> Result<Self, String> {
        let rejected = |error: ring::error::KeyRejected| error.to_string();
        if let Some(der) = block(pem, "PRIVATE KEY") {
            return RsaKeyPair::from_pkcs8(&der?).map(Self).map_err(rejected);
        }
        if let Some(der) = block(pem, "RSA PRIVATE KEY") {
            return RsaKeyPair::from_der(&der?).map(Self).map_err(rejected);
        }
        if pem.contains("ENCRYPTED") {
            return Err("its key is encrypted: store it without a password, readable by this user only".into());
        }
        Err("it has no RSA key in PEM".into())
    }

    /// A signed token.
    pub(crate) fn sign(&self, algorithm: Algorithm, header: Value, claims: &Value) -> Result<String, String> {
        let (name, encoding): (_, &'static dyn RsaEncoding) = match algorithm {
            Algorithm::Rs256 => ("RS256", &RSA_PKCS1_SHA256),
            Algorithm::Ps256 => ("PS256", &RSA_PSS_SHA256),
        };
        signed(name, header, claims, |said| {
            let mut signature = vec![0; self.0.public().modulus_len()];
            self.0
                .sign(encoding, &SystemRandom::new(), said, &mut signature)
                .map_err(|_unspecified| "its key does not sign".to_owned())?;
            Ok(signature)
        })
    }
}

/// A token that `sign` signs by the algorithm of this name.
pub(crate) fn signed(
    name: &str,
    mut header: Value,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>,
) -> Result<String, String> {
    if let Some(fields) = header.as_object_mut() {
        fields.insert("alg".into(), name.into());
        fields.insert("typ".into(), "JWT".into());
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let said = format!("{}.{}", part(&header), part(claims));
    let signature = sign(said.as_bytes())?;
    Ok(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The bytes of the first block with this label, if there is one.
pub(crate) fn block(pem: &str, label: &str) -> Option<Result<Zeroizing<Vec<u8>>, String>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    Some(STANDARD.decode(body.as_bytes()).map(Zeroizing::new).map_err(|_hidden| "its PEM is damaged".into()))
}
