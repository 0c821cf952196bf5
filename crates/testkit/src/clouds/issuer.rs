//! Keys that sign, and an issuer of OpenID Connect tokens with its discovery document and its keys.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as URL_SAFE};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use super::jwt::KeyPair as RsaFiles;
use super::{Served, json as answer};

/// A private key.
pub enum Signer {
    /// Of Ed25519.
    Ed25519(Ed25519KeyPair),
    /// Of P-256.
    P256(EcdsaKeyPair),
    /// Of RSA.
    Rsa(RsaKeyPair),
}

impl Signer {
    /// A new one.
    pub fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("random numbers");
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key that was just made"))
    }

    /// A new one.
    pub fn p256() -> Self {
        let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(how, &random).expect("random numbers");
        let key = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random);
        Self::P256(key.expect("a key that was just made"))
    }

    /// A new one, made by openssl in `folder`.
    pub fn rsa(folder: &Path) -> Self {
        let pair = RsaFiles::create(folder).expect("openssl makes a key");
        let pem = std::fs::read_to_string(pair.key).expect("a key that was just made");
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let document = STANDARD.decode(body).expect("PEM is base64");
        Self::Rsa(RsaKeyPair::from_pkcs8(&document).expect("a key that was just made"))
    }

    /// Its name in headers.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        match self {
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE.encode(key.public_key().as_ref())})
            }
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = point.get(1..).and_then(|point| point.split_at_checked(32)).unwrap_or_default();
                json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE.encode(x), "y": URL_SAFE.encode(y)})
            }
            Self::Rsa(key) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "n": URL_SAFE.encode(public.n), "e": URL_SAFE.encode(public.e)})
            }
        }
    }

    /// The same with an id, as issuers publish it.
    pub fn published(&self, id: &str) -> Value {
        let mut jwk = self.jwk();
        let more = [("kid", id), ("use", "sig"), ("alg", self.algorithm())];
        if let Some(members) = jwk.as_object_mut() {
            members.extend(more.map(|(name, value)| (name.to_owned(), value.into())));
        }
        jwk
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(json!({"typ": "JWT"}), claims)
    }

    /// The same with a header of one's own; the algorithm is added where there is none.
    pub fn sign_with(&self, mut header: Value, claims: &Value) -> String {
        if let Some(members) = header.as_object_mut() {
            members.entry("alg").or_insert_with(|| self.algorithm().into());
        }
        let said = format!("{}.{}", URL_SAFE.encode(header.to_string()), URL_SAFE.encode(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ed25519(key) => key.sign(said.as_bytes()).as_ref().to_vec(),
            Self::P256(key) => key.sign(&random, said.as_bytes()).expect("random numbers").as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, said.as_bytes(), &mut signature).expect("a key that signs");
                signature
            }
        };
        format!("{said}.{}", URL_SAFE.encode(signature))
    }
}

/// An issuer. What it serves is changed by tests as they like.
pub struct Issuer {
    /// Its `iss`.
    pub url: String,
    state: Arc<Mutex<Published>>,
    _served: Served,
}

#[derive(Default)]
struct Published {
    url: String,
    discovery: Option<Value>,
    keys: String,
    /// Statuses of the next answers; then 200.
    answers: VecDeque<u16>,
    asked: Vec<String>,
}

impl Issuer {
    /// Starts one with these keys. Must be called within a runtime.
    pub fn start(keys: &[Value]) -> Self {
        let state = Arc::new(Mutex::new(Published::default()));
        let served = Served::start(Router::new().fallback(serve).with_state(Arc::clone(&state)));
        let url = format!("{}/id/1", served.url());
        let issuer = Self { url: url.clone(), state, _served: served };
        issuer.state().url = url;
        issuer.publish(keys);
        issuer
    }

    fn state(&self) -> MutexGuard<'_, Published> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its keys from now on.
    pub fn publish(&self, keys: &[Value]) {
        self.publish_text(json!({"keys": keys}).to_string());
    }

    /// What is there in place of its keys.
    pub fn publish_text(&self, text: String) {
        self.state().keys = text;
    }

    /// What its discovery document says from now on.
    pub fn discover(&self, document: Option<Value>) {
        self.state().discovery = document;
    }

    /// The next answers have these statuses.
    pub fn answer(&self, statuses: &[u16]) {
        self.state().answers = statuses.iter().copied().collect();
    }

    /// How often its keys were asked for.
    pub fn count(&self) -> usize {
        self.state().asked.iter().filter(|path| path.ends_with("/keys")).count()
    }
}

async fn serve(State(state): State<Arc<Mutex<Published>>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.asked.push(path.clone());
    let status = state.answers.pop_front().unwrap_or(200);
    if status == 302 {
        return Redirect::temporary(&format!("{}/keys", state.url)).into_response();
    }
    if status != 200 {
        return StatusCode::from_u16(status).unwrap_or_default().into_response();
    }
    match path.as_str() {
        "/id/1/.well-known/openid-configuration" => {
            let url = &state.url;
            let usual =
                || json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "response_types_supported": ["id_token"]});
            answer(200, &state.discovery.clone().unwrap_or_else(usual))
        }
        "/id/1/keys" => state.keys.clone().into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
