//! What the agent shows the hub to get a token: its secret, a signature of its own key, or its platform's word. Each is read
//! or made anew for each sign-in, so that a rotated one needs no restart.

use std::path::Path;

use millrace_identity::{ClientKey, Surroundings, Workload, WorkloadToken, said};
use millrace_model::{Fault, SecretReference, SecretStore, Timestamp};
use millrace_secrets::Secrets;

use crate::fault::Cause;
use crate::hub::Answer;
use crate::settings::{ClientSecret, Proof, Settings};

/// Signs in.
pub(crate) struct SignIn {
    hub: String,
    client_id: String,
    proof: Proof,
    /// Where a client secret is read.
    secrets: Secrets,
    /// Where a platform is asked.
    workload: Option<Workload>,
}

/// What is shown to the hub.
pub(crate) enum Shown {
    Secret(String),
    Assertion {
        token: String,
        /// As its platform gave it.
        given: Option<WorkloadToken>,
    },
}

impl SignIn {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Cause> {
        let workload = match &settings.proof {
            Proof::Platform { platform, .. } => {
                let around = Surroundings::of_process().map_err(|fault| of_platform(&fault))?;
                Some(Workload::new(*platform, &around))
            }
            Proof::Secret(_) | Proof::Key(_) | Proof::TokenFile(_) => None,
        };
        Ok(Self {
            hub: settings.hub_url.clone(),
            client_id: settings.client_id.clone(),
            proof: settings.proof.clone(),
            secrets: Secrets::default(),
            workload,
        })
    }

    /// What to show now.
    pub(crate) async fn show(&self, now: Timestamp) -> Result<Shown, Answer> {
        let assertion = |token| Shown::Assertion { token, given: None };
        match &self.proof {
            Proof::Secret(ClientSecret::Value(value)) => Ok(Shown::Secret(value.clone())),
            Proof::Secret(ClientSecret::File(path)) => read("OAUTH_CLIENT_SECRET_FILE", path).map(Shown::Secret),
            Proof::Secret(ClientSecret::Reference(reference)) => self.referred(reference).await.map(Shown::Secret),
            Proof::Key(path) => self.signed(path, now).map(assertion),
            Proof::TokenFile(path) => read(TOKEN_FILE, path).map(assertion),
            Proof::Platform { audience, .. } => {
                let Some(workload) = &self.workload else { return Err(no_platform()) };
                let given =
                    workload.token(audience).await.map_err(|fault| answer("OAUTH_WORKLOAD_IDENTITY", &fault))?;
                Ok(Shown::Assertion { token: given.value.reveal().to_owned(), given: Some(given) })
            }
        }
    }

    /// The hub has refused it: what that means.
    pub(crate) fn refused(&self, shown: Shown) -> Cause {
        let hub = self.hub.clone();
        let Shown::Assertion { token, given } = shown else { return Cause::SignInRefused { hub } };
        if let (Some(workload), Some(given)) = (&self.workload, &given) {
            workload.forget(given);
        }
        let (what, cure) = match &self.proof {
            Proof::Key(path) => (
                format!("signature with the key in `{}`", path.display()),
                "in the console, on the agent's page under Sign-in without a secret, add the public half of this key; let \
                 OAUTH_CLIENT_ID be this agent's and HUB_URL the hub's public address; keep this machine's time right. The \
                 hub's log and Activity say which it is",
            ),
            Proof::TokenFile(_) | Proof::Platform { .. } | Proof::Secret(_) => (
                match said(&token) {
                    Some(said) => format!("platform token of {said}"),
                    None => "platform token: it is no JSON Web Token".into(),
                },
                "in the console, on the agent's page under Sign-in without a secret, add a trust rule with exactly this issuer, \
                 subject and audience; let OAUTH_CLIENT_ID be this agent's. The hub's log and Activity say what did not match",
            ),
        };
        Cause::ProofRefused { hub, what, cure: cure.into() }
    }

    fn signed(&self, path: &Path, now: Timestamp) -> Result<String, Answer> {
        let pem = read(KEY_FILE, path)?;
        let wrong = |why: String| {
            let message = format!("names `{}`: {why}", path.display());
            let cure = "make one with `openssl genpkey -algorithm ed25519`, readable by the agent's user alone";
            Answer::Final(Cause::setting(KEY_FILE, &message, cure))
        };
        let key = ClientKey::of_pem(&pem).map_err(wrong)?;
        key.assertion(&self.client_id, &self.hub, now).map_err(wrong)
    }

    async fn referred(&self, reference: &SecretReference) -> Result<String, Answer> {
        let secret = self.secrets.read(reference).await.map_err(|fault| answer("OAUTH_CLIENT_SECRET_REF", &fault))?;
        Ok(secret.reveal().trim_end().to_owned())
    }
}

const KEY_FILE: &str = "OAUTH_CLIENT_KEY_FILE";
const TOKEN_FILE: &str = "OAUTH_WORKLOAD_TOKEN_FILE";

fn read(variable: &'static str, path: &Path) -> Result<String, Answer> {
    let text = std::fs::read_to_string(path).map(|text| text.trim_end().to_owned());
    text.map_err(|error| Answer::Final(Cause::File { variable, path: path.to_owned(), error }))
}

/// What a fault beneath means for the sign-in.
fn answer(variable: &str, fault: &Fault) -> Answer {
    if fault.is_retry() {
        return Answer::Later(fault.to_string(), None);
    }
    Answer::Final(Cause::Settings { message: format!("{variable}: {fault}"), cure: fault.cure.clone() })
}

fn of_platform(fault: &Fault) -> Cause {
    Cause::Settings { message: format!("OAUTH_WORKLOAD_IDENTITY: {fault}"), cure: fault.cure.clone() }
}

fn no_platform() -> Answer {
    Answer::Final(Cause::setting("OAUTH_WORKLOAD_IDENTITY", "names no platform", "set it to aws, azure or google"))
}
