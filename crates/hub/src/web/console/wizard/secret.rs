//! The fields of a reference to a secret: which service, its name there, the key in it, and how it comes to be there.

use serde_json::{Map, Value};

use super::form::{Part, or, words};
use super::howto::ways;
use crate::web::console::page::Wrong;
use crate::web::console::show::{Choice, Field};
use crate::web::console::visitor::Fields;

/// What the secret is.
pub(super) struct Secret {
    pub(super) heading: &'static str,
    /// Who reads it, and why.
    pub(super) about: &'static str,
    /// What holds where no name is given.
    pub(super) without: &'static str,
    /// The service that stands there at first.
    pub(super) usual: &'static str,
    /// As a file's name.
    pub(super) what: &'static str,
    /// In a sentence.
    pub(super) words: &'static str,
}

impl Secret {
    /// What a secret of a cluster is called that holds it.
    pub(super) fn in_cluster(&self) -> &'static str {
        if self.what == "password" { "database" } else { "lake" }
    }
}

/// A member of the reference, and the field that asks for it.
pub(super) const FIELDS: [(&str, &str); 3] =
    [("secretType", "secretType"), ("secretName", "secretName"), ("key", "secretKey")];

/// The form's field that shows this member; that of the name where it is the whole.
pub(super) fn field_of(member: &str) -> &'static str {
    FIELDS.iter().find(|(known, _)| *known == member).map_or("secretName", |(_, field)| field)
}

/// A secret service as people write it.
pub(super) fn secret_store(word: &str) -> &str {
    match word {
        "aws_secrets_manager" => "AWS Secrets Manager",
        "azure_key_vault" => "Azure Key Vault",
        "google_secret_manager" => "Google Secret Manager",
        "hashicorp_vault" => "HashiCorp Vault",
        "env" => "Environment variable of the agent",
        "file" => "File of the agent",
        other => other,
    }
}

/// What is asked, with the reference that was given before. `deployment` is the agent's.
pub(super) fn parts(secret: &Secret, before: Option<&Value>, wrong: &Wrong, deployment: &str) -> Vec<Part> {
    let of = |name: &str| {
        let member = before.and_then(|reference| reference.get(name)).and_then(Value::as_str);
        member.unwrap_or_default().to_owned()
    };
    let (chosen, name) = (or(of("secretType"), secret.usual), of("secretName"));
    let stores = words("streamingSource.connection.password.secretType", &chosen, |word| secret_store(word).to_owned());
    vec![
        Part::Heading(secret.heading),
        Part::Choice(Choice::of("secretType", "Secret store", stores, wrong).help(secret.about)),
        Part::Howto(ways(&chosen, (&name, deployment), secret)),
        Part::Field(Field::text("secretName", "Secret name", name, wrong).help(secret.without).optional().most(2048)),
        Part::Field(
            Field::text("secretKey", "Key in the secret", of("key"), wrong)
                .help("Where the secret is a JSON object; in HashiCorp Vault always.")
                .optional(),
        ),
    ]
}

/// The reference that was typed; none where it has no name.
pub(super) fn read(fields: &Fields) -> Option<Value> {
    if fields.get("secretName").is_empty() {
        return None;
    }
    let given = FIELDS.into_iter().filter(|(_, field)| !fields.get(field).is_empty());
    let reference: Map<String, Value> =
        given.map(|(name, field)| (name.to_owned(), fields.get(field).into())).collect();
    Some(Value::Object(reference))
}
