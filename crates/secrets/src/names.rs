//! The names that one secret can be asked for by: a policy that speaks of a secret must not be got around by another
//! spelling, another version or another key of it.

use millrace_model::SecretReference;

/// The secret behind a reference, as `store:name`, in every way that it may be meant; a version and a key make no other
/// secret of it, and neither does a region, a vault or a project.
pub fn known_as(reference: &SecretReference) -> Vec<String> {
    let SecretReference { store, name, .. } = reference;
    let unversioned = name.split('?').next().unwrap_or_default();
    let names = match store.as_str() {
        "aws_secrets_manager" => of_aws(unversioned),
        "azure_key_vault" => {
            let path = name.split_once("/secrets/").map_or(name.as_str(), |(_, path)| path);
            vec![path.split('/').next().unwrap_or_default().to_lowercase()]
        }
        "google_secret_manager" => {
            let path = name.split_once("/secrets/").map_or(name.as_str(), |(_, path)| path);
            vec![path.split('/').next().unwrap_or_default().to_owned()]
        }
        "hashicorp_vault" => vec![unversioned.to_owned()],
        _ => vec![name.clone()],
    };
    names.into_iter().map(|name| format!("{store}:{name}")).collect()
}

/// An ARN ends with the name and six random characters, or without them: the service takes both.
fn of_aws(id: &str) -> Vec<String> {
    let Some(name) = id.strip_prefix("arn:").and_then(|arn| arn.rsplit(':').next()) else { return vec![id.to_owned()] };
    let is_random = |end: &str| end.len() == 6 && end.chars().all(|c| c.is_ascii_alphanumeric());
    let short = name.rsplit_once('-').filter(|(_, end)| is_random(end)).map(|(short, _)| short.to_owned());
    short.into_iter().chain([name.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_has_the_same_name_however_it_is_asked_for() {
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:shop/db";
        for (store, name, expected) in [
            ("env", "A", "env:A"),
            ("aws_secrets_manager", "shop/db", "aws_secrets_manager:shop/db"),
            ("aws_secrets_manager", "shop/db?versionStage=AWSPREVIOUS", "aws_secrets_manager:shop/db"),
            ("aws_secrets_manager", &format!("{arn}-AbCd12"), "aws_secrets_manager:shop/db"),
            ("aws_secrets_manager", &format!("{arn}-AbCd12?versionId=1"), "aws_secrets_manager:shop/db"),
            ("aws_secrets_manager", arn, "aws_secrets_manager:shop/db"),
            ("azure_key_vault", "Shop-DB/0123", "azure_key_vault:shop-db"),
            ("azure_key_vault", "https://v.vault.azure.net/secrets/shop-db/0123", "azure_key_vault:shop-db"),
            ("google_secret_manager", "db/versions/3", "google_secret_manager:db"),
            ("google_secret_manager", "projects/p/locations/l/secrets/db/versions/3", "google_secret_manager:db"),
            ("hashicorp_vault", "secret/shop/db?version=3", "hashicorp_vault:secret/shop/db"),
        ] {
            let reference = SecretReference { store: store.into(), name: name.into(), key: None };
            assert!(known_as(&reference).iter().any(|it| it == expected), "{name}: {:?}", known_as(&reference));
        }
    }
}
