//! Bearer tokens: what Azure and Google give, each for a scope.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use millrace_model::{Fault, SecretValue, Timestamp};

use crate::fault::{Cause, Nothing};
use crate::kept::{Expiring, Kept};
use crate::surroundings::Surroundings;

/// A bearer token.
pub struct Token {
    /// What stands behind `Bearer`.
    pub value: SecretValue,
    /// When it ends.
    pub expires: Timestamp,
    /// Whose it is, for people.
    pub from: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.from)
    }
}

impl Expiring for Token {
    fn expires(&self) -> Option<Timestamp> {
        Some(self.expires)
    }
}

/// Gives tokens. Cheap to call for each request: what was got is kept until shortly before it ends.
#[async_trait]
pub trait TokenIdentity: Send + Sync {
    /// The token to ask with now. `scope` is for example `https://vault.azure.net/.default` or
    /// `https://www.googleapis.com/auth/cloud-platform`.
    async fn token(&self, scope: &str) -> Result<Arc<Token>, Fault>;

    /// A service does not take this one any more: it is not given out again.
    fn forget(&self, scope: &str, refused: &Arc<Token>);
}

/// One place where tokens may be had.
#[async_trait]
pub(crate) trait Step: Send + Sync {
    /// Gets one there, without keeping anything.
    async fn obtain(&self, around: &Surroundings, scope: &str) -> Result<Token, Nothing>;
}

/// The steps, one after the other; the first that is set up here is the identity.
pub(crate) struct Chain {
    pub(crate) around: Surroundings,
    pub(crate) cloud: &'static str,
    pub(crate) cure: &'static str,
    pub(crate) steps: Vec<Box<dyn Step>>,
    pub(crate) kept: Mutex<HashMap<String, Arc<Kept<Token>>>>,
}

impl Chain {
    async fn walk(&self, scope: &str) -> Result<Token, Fault> {
        let mut absent = Vec::new();
        for step in &self.steps {
            match step.obtain(&self.around, scope).await {
                Ok(token) => return Ok(token),
                Err(Nothing::Absent(reason)) => absent.push(reason),
                Err(Nothing::Failed(cause)) => return Err(cause.into()),
            }
        }
        Err(Cause::None { cloud: self.cloud, steps: absent, cure: self.cure.into() }.into())
    }

    fn of_scope(&self, scope: &str) -> Arc<Kept<Token>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(scope.to_owned()).or_default())
    }
}

#[async_trait]
impl TokenIdentity for Chain {
    async fn token(&self, scope: &str) -> Result<Arc<Token>, Fault> {
        let name = format!("the {} token", self.cloud);
        self.of_scope(scope).get(&self.around, &name, self.walk(scope)).await
    }

    fn forget(&self, scope: &str, refused: &Arc<Token>) {
        self.of_scope(scope).forget(refused);
    }
}
