//! Keys and certificates of RSA, made by openssl, and JSON Web Tokens as a token service checks them.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use crate::doors::openssl;
use crate::fault::{Fault, Result};

/// A key with a certificate that it signed itself.
pub struct KeyPair {
    /// The private key in PEM (PKCS #8).
    pub key: PathBuf,
    /// Certificate and key in one PEM file.
    pub both: PathBuf,
    /// The public key, as token services keep it (PKCS #1).
    pub public: Vec<u8>,
    /// The certificate's SHA-256, as `x5t#S256` has it.
    pub thumbprint: String,
}

impl KeyPair {
    /// Makes them in `folder`.
    pub fn create(folder: &Path) -> Result<Self> {
        let at = |name: &str| folder.join(name);
        let read = |name: &str| std::fs::read(at(name)).map_err(Fault::io(at(name)));
        openssl(folder, &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.key"])?;
        openssl(folder, &["req", "-x509", "-key", "rsa.key", "-days", "2", "-subj", "/CN=app", "-out", "rsa.pem"])?;
        openssl(folder, &["rsa", "-in", "rsa.key", "-RSAPublicKey_out", "-outform", "DER", "-out", "public.der"])?;
        openssl(folder, &["x509", "-in", "rsa.pem", "-outform", "DER", "-out", "rsa.der"])?;
        let both = [read("rsa.pem")?, read("rsa.key")?].concat();
        std::fs::write(at("both.pem"), both).map_err(Fault::io(at("both.pem")))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &read("rsa.der")?);
        Ok(Self {
            key: at("rsa.key"),
            both: at("both.pem"),
            public: read("public.der")?,
            thumbprint: URL_SAFE_NO_PAD.encode(digest),
        })
    }
}

/// Header and claims of a token that is signed with the key of this public half.
pub fn checked(token: &str, public: &[u8]) -> Option<(Value, Value)> {
    let mut parts = token.split('.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let decoded = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let said = decoded(header)?;
    let algorithm = match said.get("alg")?.as_str()? {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        _ => return None,
    };
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    UnparsedPublicKey::new(algorithm, public).verify(signed.as_bytes(), &signature).ok()?;
    Some((said, decoded(claims)?))
}
