//! Access tokens: JWTs of type `at+jwt` (RFC 9068), signed with Ed25519, valid for a quarter of an hour on every replica.
//!
//! A token of an agent and one of an API client differ in their audience, so neither works at the other's door.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as URL_SAFE;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::seal::Sealer;
use crate::db::{Alone, Db, keys};
use crate::fault::{Cause, Refused};
use millrace_model::Timestamp;

/// Seconds that a token is valid for.
pub(crate) const LIFETIME: u64 = 15 * 60;
/// Seconds that clocks of replicas may differ by.
const LEEWAY: u64 = 60;
/// Type of the token, RFC 9068.
const KIND: &str = "at+jwt";

/// The door that a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The REST API.
    Api,
    /// The agents' gateway.
    Gateway,
}

impl Audience {
    fn as_str(self) -> &'static str {
        match self {
            Self::Api => "millrace-api",
            Self::Gateway => "millrace-gateway",
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// API client or agent.
    pub(crate) sub: String,
    /// Its account.
    pub(crate) account: String,
    /// Id of the credential that it was got with; a revoked one ends it at once.
    pub(crate) credential: String,
    aud: String,
    iat: u64,
    exp: u64,
    jti: String,
}

/// The public half of a key.
struct Verifying {
    id: String,
    key: DecodingKey,
    public: Vec<u8>,
}

/// Signs tokens and knows its own again.
pub(crate) struct Tokens {
    id: String,
    signing: EncodingKey,
    verifying: Vec<Verifying>,
}

impl Tokens {
    /// With the keys in the database; makes the first one.
    pub(crate) async fn open(db: &Db, sealer: &Sealer, now: Timestamp) -> Result<Self, Cause> {
        let of_refused = |refused: Refused| Cause::Damaged(describe(&refused));
        let mut stored = keys::live(db.pool()).await.map_err(of_refused)?;
        if stored.is_empty() {
            stored = Self::first(db, sealer, now).await.map_err(of_refused)?;
        }
        let mut signing = None;
        let mut verifying = Vec::new();
        for key in stored {
            let document = sealer.open(&key.sealed, &key.id).map_err(|refused| Cause::OtherKey(describe(&refused)))?;
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document)
                .map_err(|_error| Cause::Damaged(format!("the signing key {} is damaged", key.id)))?;
            let public = pair.public_key().as_ref().to_vec();
            verifying.push(Verifying { id: key.id.clone(), key: DecodingKey::from_ed_der(&public), public });
            if signing.is_none() {
                signing = Some((key.id, EncodingKey::from_ed_der(&document)));
            }
        }
        let (id, signing) = signing.ok_or_else(|| Cause::Damaged("there is no signing key".into()))?;
        Ok(Self { id, signing, verifying })
    }

    /// Makes the first key. Of several hub processes that begin at once, one does; the others take what it made.
    async fn first(db: &Db, sealer: &Sealer, now: Timestamp) -> Result<Vec<keys::SigningKey>, Refused> {
        let mut writing = db.write_alone(Alone::SigningKey).await?;
        let stored = keys::live(writing.on()).await?;
        if !stored.is_empty() {
            return Ok(stored);
        }
        let id = Uuid::now_v7().to_string();
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_error| Refused::failed("the system has no random numbers"))?;
        let sealed = sealer.seal(document.as_ref(), &id)?;
        let key = keys::SigningKey { id, sealed };
        keys::insert(writing.on(), &key, now).await?;
        writing.commit().await?;
        Ok(vec![key])
    }

    /// Id and public half of each key whose tokens are accepted, the half as a JWK has it.
    pub(crate) fn public_keys(&self) -> impl Iterator<Item = (&str, String)> {
        self.verifying.iter().map(|known| (known.id.as_str(), URL_SAFE.encode(&known.public)))
    }

    /// A new token.
    pub(crate) fn issue(
        &self,
        audience: Audience,
        (subject, account, credential): (&str, &str, &str),
        now: Timestamp,
    ) -> Result<String, Refused> {
        let iat = u64::try_from(now.0 / 1_000_000).unwrap_or_default();
        let claims = Claims {
            sub: subject.to_owned(),
            account: account.to_owned(),
            credential: credential.to_owned(),
            aud: audience.as_str().to_owned(),
            iat,
            exp: iat + LIFETIME,
            jti: Uuid::now_v7().to_string(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(KIND.to_owned());
        header.kid = Some(self.id.clone());
        encode(&header, &claims, &self.signing).map_err(|error| Refused::Failed(Box::new(error)))
    }

    /// What a token says, if it is ours, for this door, and not expired.
    pub(crate) fn verify(&self, token: &str, audience: Audience, now: Timestamp) -> Option<Claims> {
        let header = decode_header(token).ok().filter(|header| header.typ.as_deref() == Some(KIND))?;
        let kid = header.kid?;
        let key = &self.verifying.iter().find(|known| known.id == kid)?.key;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[audience.as_str()]);
        // By the hub's own clock, below.
        validation.validate_exp = false;
        let claims = decode::<Claims>(token, key, &validation).ok()?.claims;
        let seconds = u64::try_from(now.0 / 1_000_000).unwrap_or_default();
        (seconds < claims.exp && claims.iat <= seconds + LEEWAY).then_some(claims)
    }
}

fn describe(refused: &Refused) -> String {
    match refused {
        Refused::Failed(cause) | Refused::Unavailable(cause) => cause.to_string(),
        other @ (Refused::Invalid(_)
        | Refused::Unauthenticated(_)
        | Refused::Forbidden(_)
        | Refused::NotFound(_)
        | Refused::Stale
        | Refused::Gone { .. }
        | Refused::TooMany { .. }
        | Refused::Conflict { .. }) => other.to_string(),
    }
}
