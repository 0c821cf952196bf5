//! Who millrace is at a store that takes a key or a token. (S3 takes signatures: `millrace_identity::AwsIdentity`.)

use std::sync::Arc;

use async_trait::async_trait;
use millrace_identity::Token;
use millrace_model::{Fault, SecretValue};

/// What proves it.
#[derive(Debug)]
pub enum Proof {
    /// A storage account's key, in base64.
    Key(SecretValue),
    /// An access token.
    Token(Arc<Token>),
    /// Nobody asks for one: an emulator.
    Nothing,
}

impl Proof {
    /// What stands in the header `authorization`, of one that a service takes as it is.
    pub(crate) fn bearer(&self) -> Option<String> {
        match self {
            Self::Token(token) => Some(format!("Bearer {}", token.value.reveal())),
            Self::Key(_) | Self::Nothing => None,
        }
    }
}

/// Gives proofs. Asked before each request: whoever implements it keeps what is still valid.
#[async_trait]
pub trait Prover: Send + Sync {
    /// One that is valid now.
    async fn proof(&self) -> Result<Proof, Fault>;

    /// Another one in the place of one that the service has just refused, where there is another.
    async fn another(&self, refused: &Proof) -> Result<Option<Proof>, Fault>;
}
