//! How a secret comes to be where the agent looks for it: for each store, and for where the agent runs.

use millrace_protocol::wire;

use super::form::secret_store;

/// One store's way.
pub(crate) struct Way {
    pub(crate) word: &'static str,
    pub(crate) name: &'static str,
    pub(crate) is_chosen: bool,
    pub(crate) is_built: bool,
    pub(crate) words: &'static str,
    pub(crate) block: String,
}

/// Each store's, with the chosen one marked. `secret` is its name, as far as it was typed.
pub(super) fn ways(chosen: &str, secret: &str, deployment: &str) -> Vec<Way> {
    let known = wire::words("streamingSource.connection.password.secretType");
    known
        .into_iter()
        .map(|(word, is_built)| {
            let (words, block) = of_store(word, if secret.is_empty() { "NAME" } else { secret }, deployment);
            Way { word, name: secret_store(word), is_chosen: word == chosen, is_built, words, block }
        })
        .collect()
}

const IN_FILE: &str = "With the password in the file `password`. Then let the agent's role read it.";

fn of_store(word: &str, name: &str, deployment: &str) -> (&'static str, String) {
    match word {
        "env" => of_environment(name, deployment),
        "file" => (
            "A file that only the agent's user can read, at this path where the agent runs; from its root, or from STATE_DIR.",
            format!("install -m 0400 -o 65532 password {name}"),
        ),
        "aws_secrets_manager" => {
            (IN_FILE, format!("aws secretsmanager create-secret --name {name} --secret-string file://password"))
        }
        "azure_key_vault" => {
            (IN_FILE, format!("az keyvault secret set --vault-name VAULT --name {name} --file password"))
        }
        "google_secret_manager" => (IN_FILE, format!("gcloud secrets create {name} --data-file=password")),
        _ => (IN_FILE, format!("vault kv put {name} password=@password")),
    }
}

/// A variable comes from the platform's own secret store where it has one.
fn of_environment(name: &str, deployment: &str) -> (&'static str, String) {
    match deployment {
        "fargate" => (
            "In the agent's task definition, from a secret of AWS Secrets Manager, below `secrets`. Then renew its service.",
            format!("{{\"name\": \"{name}\", \"valueFrom\": \"SECRET_ARN\"}}"),
        ),
        "eks" | "aks" | "gke" => (
            "As a secret of the cluster, which the agent's `envFrom` takes in. Then restart its pod.",
            format!("kubectl create secret generic database --from-file={name}=password"),
        ),
        "aci" => (
            "With the agent's container, beside its client secret.",
            format!("--secure-environment-variables \"{name}=$(cat password)\""),
        ),
        _ => ("Where the agent's container is started.", format!("docker run … -e {name}=\"$(cat password)\" …")),
    }
}
