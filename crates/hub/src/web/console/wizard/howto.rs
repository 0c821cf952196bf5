//! How a secret is named in each service, and how it comes to be there, for where the agent runs.

use millrace_protocol::wire;

use super::secret::{Secret, secret_store};

/// One service's way.
pub(crate) struct Way {
    pub(crate) word: &'static str,
    pub(crate) name: &'static str,
    pub(crate) is_chosen: bool,
    pub(crate) is_built: bool,
    /// What its name is there, and where it is looked for.
    pub(crate) naming: &'static str,
    pub(crate) words: String,
    pub(crate) block: String,
}

/// Each service's, with the chosen one marked. `name` is the secret's, as far as it was typed.
pub(super) fn ways(chosen: &str, (name, deployment): (&str, &str), secret: &Secret) -> Vec<Way> {
    let known = wire::words("streamingSource.connection.password.secretType");
    let name = if name.is_empty() { "NAME" } else { name };
    known
        .into_iter()
        .map(|(word, is_built)| {
            let (words, block) = of_store(word, name, deployment, secret);
            let (name, naming) = (secret_store(word), naming(word));
            Way { word, name, is_chosen: word == chosen, is_built, naming, words, block }
        })
        .collect()
}

/// The shape of a reference, as `docs/reference/secrets.md` has it.
fn naming(word: &str) -> &'static str {
    match word {
        "env" => "Secret name: the variable, SHOP_PASSWORD.",
        "file" => "Secret name: the path, /run/secrets/shop.",
        "aws_secrets_manager" => {
            "Secret name: the name, millrace/shop, or the full ARN; ?versionStage=AWSPREVIOUS or ?versionId=ID behind it for another version. \
             Without an ARN it is looked for in AWS_REGION of the agent."
        }
        "azure_key_vault" => {
            "Secret name: the name in the vault that the agent has as DEFAULT_KEYVAULT, or https://VAULT.vault.azure.net/secrets/NAME; \
             /VERSION behind it for another version."
        }
        "google_secret_manager" => {
            "Secret name: the name in the project that the agent has as DEFAULT_GCP_PROJECT or runs in, or projects/PROJECT/secrets/NAME; \
             /versions/3 behind it for another version."
        }
        "hashicorp_vault" => {
            "Secret name: MOUNT/PATH as vault kv get has it, secret/shop; ?version=3 behind it for another version. \
             Key in the secret: the field at that path. The agent has the server as VAULT_ADDR."
        }
        _ => "",
    }
}

fn of_store(word: &str, name: &str, deployment: &str, secret: &Secret) -> (String, String) {
    let Secret { what, words, .. } = secret;
    let in_file = || format!("With the {words} in a file named {what}. Then let the agent's role read it.");
    match word {
        "env" => of_environment(name, deployment, secret),
        "file" => (
            "A file that only the agent's user can read, at this path where the agent runs; from its root, or from STATE_DIR."
                .into(),
            format!("install -m 0400 -o 65532 {what} {name}"),
        ),
        "aws_secrets_manager" => {
            (in_file(), format!("aws secretsmanager create-secret --name {name} --secret-string file://{what}"))
        }
        "azure_key_vault" => {
            (in_file(), format!("az keyvault secret set --vault-name VAULT --name {name} --file {what}"))
        }
        "google_secret_manager" => (in_file(), format!("gcloud secrets create {name} --data-file={what}")),
        _ => {
            let path = if name == "NAME" { "MOUNT/PATH" } else { name };
            (in_file(), format!("vault kv put {path} {what}=@{what}"))
        }
    }
}

/// A variable comes from the platform's own secret store where it has one.
fn of_environment(name: &str, deployment: &str, secret: &Secret) -> (String, String) {
    let what = secret.what;
    let (words, block) = match deployment {
        "fargate" => (
            "In the agent's task definition, from a secret of AWS Secrets Manager, below `secrets`. Then renew its service.",
            format!("{{\"name\": \"{name}\", \"valueFrom\": \"SECRET_ARN\"}}"),
        ),
        "eks" | "aks" | "gke" => (
            "As a secret of the cluster, which the agent's `envFrom` takes in. Then restart its pod.",
            format!("kubectl create secret generic {} --from-file={name}={what}", secret.in_cluster()),
        ),
        "aci" => (
            "With the agent's container, beside its client secret.",
            format!("--secure-environment-variables \"{name}=$(cat {what})\""),
        ),
        _ => ("Where the agent's container is started.", format!("docker run … -e {name}=\"$(cat {what})\" …")),
    };
    (words.into(), block)
}
