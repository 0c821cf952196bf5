//! Where a cloud's credentials come from, for secrets and object stores alike.
//!
//! The doors are small: [`AwsIdentity`] gives keys, [`TokenIdentity`] gives bearer tokens. What stands behind them finds
//! itself in the process's surroundings (`docs/reference/identities.md` says how and in which order), keeps what it got,
//! gets it anew before it expires, and says in a fault which identity was tried and what would help. This crate knows no
//! secret and no store.

mod aws;
mod azure;
mod client_key;
mod fault;
mod google;
mod http;
mod jwt;
mod kept;
mod surroundings;
mod text;
mod time;
mod token;
mod vault;
mod workload;

pub use aws::call::{AwsClient, Refusal, domain, is_region};
pub use aws::sign::{Signed, encoded, sign};
pub use aws::{AwsCredentials, AwsIdentity, AwsSettings, aws, region};
pub use azure::azure;
pub use client_key::ClientKey;
pub use fault::bounded;
pub use google::{CLOUD_PLATFORM, google, project};
pub use http::{Answer, Http, body, hidden, is_this_machine, send, words};
pub use surroundings::{Surroundings, WallClock};
pub use text::SecretText;
pub use time::http_date;
pub use token::{Token, TokenIdentity};
pub use vault::{VaultClient, VaultRead, VaultToken};
pub use workload::{Platform, Workload, WorkloadToken, said};
