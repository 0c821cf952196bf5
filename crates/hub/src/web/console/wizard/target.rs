//! The target step's form: the kinds of target that agents can write to, and the fields of each by the contract's names.
//!
//! The fields of one kind are on the screen, those of the others wait in templates for whoever chooses another kind; without
//! a script a button asks the hub for them. What most need stands open, the rest folds.

use askama::Template;
use askama::filters::HtmlSafe;
use serde_json::{Map, Value};

use super::form::{OF_EVERY_TARGET, Part, foreign, kept, needed, or, text_at, typed, words};
use super::lines;
use super::secret::{self, Secret};
use crate::web::console::page::Wrong;
use crate::web::console::show::{Choice, Field, Pick, spelled};
use crate::web::console::visitor::Fields;

/// How a field is asked.
enum Ask {
    /// A line of text that must be there.
    Needed,
    /// A line of text.
    Line,
    /// Yes, no, or not set, which means what is said here.
    Switch(&'static str),
    /// A map of texts, a line each.
    Tags,
    /// A reference to a secret; not given: what is said here.
    Secret(Secret),
}

/// One field of a kind, by its name in the pipeline's body.
struct Asked {
    name: &'static str,
    label: &'static str,
    help: &'static str,
    ask: Ask,
}

const fn asked(name: &'static str, label: &'static str, help: &'static str, ask: Ask) -> Asked {
    Asked { name, label, help, ask }
}

/// A kind of target.
struct Shape {
    word: &'static str,
    fields: &'static [Asked],
    /// What few need.
    rare: &'static [Asked],
}

const PREFIX: Asked =
    asked("prefix", "Prefix", "Folder inside, for this pipeline alone: raw/shop. Empty: the root.", Ask::Line);
const STORAGE_CLASS: Asked = asked(
    "storageClass",
    "Storage class",
    "Of data files. Commits stay in the bucket's own. Empty: as the bucket does it.",
    Ask::Line,
);
/// The account's key, where the agent has no identity at Azure.
const ACCOUNT_KEY: Secret = Secret {
    heading: "Account key",
    about: "Only where the agent shall not use its own identity. It reads the key there; the key never comes to the hub.",
    without: "Empty: the agent's own identity, with the role Storage Blob Data Contributor on the container.",
    usual: "azure_key_vault",
    what: "key",
    words: "account key",
};

const KINDS: [Shape; 4] = [
    Shape {
        word: "local",
        fields: &[
            asked(
                "path",
                "Folder",
                "As the agent sees it, from its root: /lake. It must last longer than the agent's container.",
                Ask::Needed,
            ),
            asked("prefix", "Prefix", "Below the folder, for this pipeline alone.", Ask::Line),
        ],
        rare: &[],
    },
    Shape {
        word: "s3",
        fields: &[
            asked("bucket", "Bucket", "It must be there already. The agent uses its own identity at AWS.", Ask::Needed),
            asked("region", "Region", "Of the bucket: eu-west-1. Empty: AWS_REGION of the agent.", Ask::Line),
            PREFIX,
        ],
        rare: &[
            asked(
                "roleArn",
                "Role to take",
                "arn:aws:iam::ACCOUNT:role/NAME, as for a bucket of another account.",
                Ask::Line,
            ),
            asked("externalId", "External id", "Where the role's trust policy asks for one.", Ask::Line),
            asked(
                "kmsKeyId",
                "Encryption key",
                "Of AWS KMS, for every object. Empty: as the bucket does it.",
                Ask::Line,
            ),
            STORAGE_CLASS,
            asked("tags", "Tags", "Of every object. One a line, as name=value.", Ask::Tags),
            asked("requesterPays", "Requester pays", "", Ask::Switch("no")),
            asked("endpoint", "Endpoint", "Of a store that is not Amazon's: https://store.internal:9000.", Ask::Line),
            asked("pathStyle", "Bucket in the path", "", Ask::Switch("only with an endpoint")),
        ],
    },
    Shape {
        word: "abs",
        fields: &[
            asked("accountName", "Storage account", "Its name: acme of acme.blob.core.windows.net.", Ask::Needed),
            asked("container", "Container", "It must be there already.", Ask::Needed),
            PREFIX,
        ],
        rare: &[
            asked("accountKey", "", "", Ask::Secret(ACCOUNT_KEY)),
            asked(
                "endpoint",
                "Endpoint",
                "Where it is not https://ACCOUNT.blob.core.windows.net: another cloud of Azure, or an emulator.",
                Ask::Line,
            ),
        ],
    },
    Shape {
        word: "gcs",
        fields: &[
            asked(
                "bucket",
                "Bucket",
                "It must be there already. The agent uses its own identity at Google, which needs roles/storage.objectUser.",
                Ask::Needed,
            ),
            PREFIX,
        ],
        rare: &[
            asked(
                "kmsKeyName",
                "Encryption key",
                "projects/P/locations/L/keyRings/R/cryptoKeys/K. Empty: as the bucket does it.",
                Ask::Line,
            ),
            STORAGE_CLASS,
            asked("userProject", "Project that pays", "Where the bucket has its requesters pay.", Ask::Line),
            asked("endpoint", "Endpoint", "Where it is not https://storage.googleapis.com.", Ask::Line),
        ],
    },
];

const PART: &str = "streamingTarget";

/// Whether a form here asks for this kind.
pub(super) fn is_known(kind: &str) -> bool {
    KINDS.iter().any(|known| known.word == kind)
}

fn shape(kind: &str) -> Option<&'static Shape> {
    KINDS.iter().find(|known| known.word == kind)
}

/// The fields of one kind.
#[derive(Template)]
#[template(path = "parts/kind.html")]
pub(crate) struct Kind {
    word: &'static str,
    is_chosen: bool,
    fields: Vec<Part>,
    rare: Vec<Part>,
    /// Something is set, or wrong, in what folds.
    is_open: bool,
}

impl HtmlSafe for Kind {}

/// What the step asks, with what was answered before. `deployment` is the agent's.
pub(super) fn parts(spec: &Map<String, Value>, wrong: &Wrong, deployment: &str) -> Vec<Part> {
    let unknown = foreign(spec, PART);
    if !unknown.is_empty() {
        return kept(spec, PART, unknown);
    }
    let chosen = or(text_at(spec, &[PART, "type"]), "local");
    let types = words("streamingTarget.type", &chosen, |word| spelled(word).to_owned());
    let fields_of = |shape: &'static Shape| {
        if shape.word == chosen {
            let target = spec.get(PART).and_then(Value::as_object).cloned().unwrap_or_default();
            kind(shape, &target, wrong, (true, deployment))
        } else {
            kind(shape, &Map::new(), &Wrong::default(), (false, deployment))
        }
    };
    vec![
        Part::Choice(Choice::of("type", "Target type", types, wrong)),
        Part::Kinds(KINDS.iter().map(fields_of).collect()),
    ]
}

fn kind(
    shape: &'static Shape,
    target: &Map<String, Value>,
    wrong: &Wrong,
    (is_chosen, deployment): (bool, &str),
) -> Kind {
    let part = |asked: &'static Asked| part(asked, target.get(asked.name), wrong, deployment);
    let is_wrong = |asked: &Asked| match asked.ask {
        Ask::Secret(_) => secret::FIELDS.iter().any(|(_, field)| !wrong.of(field).is_empty()),
        Ask::Needed | Ask::Line | Ask::Switch(_) | Ask::Tags => !wrong.of(asked.name).is_empty(),
    };
    Kind {
        word: shape.word,
        is_chosen,
        fields: shape.fields.iter().flat_map(part).collect(),
        rare: shape.rare.iter().flat_map(part).collect(),
        is_open: shape.rare.iter().any(|asked| target.contains_key(asked.name) || is_wrong(asked)),
    }
}

fn part(asked: &'static Asked, value: Option<&Value>, wrong: &Wrong, deployment: &str) -> Vec<Part> {
    let Asked { name, label, help, ref ask } = *asked;
    let text = || value.and_then(Value::as_str).unwrap_or_default().to_owned();
    match ask {
        Ask::Needed => vec![Part::Field(Field::text(name, label, text(), wrong).help(help))],
        Ask::Line => vec![Part::Field(Field::text(name, label, text(), wrong).help(help).optional().most(2048))],
        Ask::Switch(default) => {
            let chosen = value.and_then(Value::as_bool).map(|set| set.to_string()).unwrap_or_default();
            let picks = [("", format!("Not set: {default}")), ("true", "Yes".into()), ("false", "No".into())];
            let picks = picks.into_iter().map(|(word, text)| Pick::new(word, text, &chosen)).collect();
            vec![Part::Choice(Choice::of(name, label, picks, wrong).help(help).optional())]
        }
        Ask::Tags => {
            let tags = value.and_then(Value::as_object).map(|tags| lines::written(tags, &[])).unwrap_or_default();
            let field = Field::text(name, label, tags, wrong).kind("area", "off").help(help);
            vec![Part::Field(field.optional().most(10_000))]
        }
        Ask::Secret(of) => secret::parts(of, value, wrong, deployment),
    }
}

/// The form's field that shows what stands at a path below the target.
pub(super) fn field_of(path: &str) -> Option<&'static str> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let asked = KINDS.iter().flat_map(|kind| kind.fields.iter().chain(kind.rare)).find(|asked| asked.name == first)?;
    match asked.ask {
        Ask::Secret(_) => Some(secret::field_of(rest)),
        Ask::Needed | Ask::Line | Ask::Switch(_) | Ask::Tags => Some(asked.name),
    }
}

/// The target as it was, of the kind that was chosen: of another kind only what every kind has is kept.
fn of_kind(spec: &mut Map<String, Value>, kind: &str) -> Map<String, Value> {
    let before = match spec.remove(PART) {
        Some(Value::Object(target)) if target.get("type").and_then(Value::as_str) == Some(kind) => return target,
        Some(Value::Object(target)) => target,
        // The contract's defaults, said; what a pipeline of the API leaves out stays out.
        _ => {
            Map::from_iter([("format", "avro"), ("layout", "envelope")].map(|(name, word)| (name.into(), word.into())))
        }
    };
    let kept = before.into_iter().filter(|(name, _)| OF_EVERY_TARGET.contains(&name.as_str()));
    [("type".to_owned(), Value::from(kind))].into_iter().chain(kept).collect()
}

/// The kind that was chosen, where a form here asks for it.
fn chosen(spec: &Map<String, Value>, fields: &Fields) -> String {
    let sent = fields.get("type");
    let before = text_at(spec, &[PART, "type"]);
    [sent, before.as_str()].into_iter().find(|kind| is_known(kind)).unwrap_or("local").to_owned()
}

/// Takes over the kind alone where it is another one: its fields come next.
pub(super) fn put_kind(spec: &mut Map<String, Value>, fields: &Fields) -> bool {
    let kind = chosen(spec, fields);
    let is_other = or(text_at(spec, &[PART, "type"]), "local") != kind;
    if is_other {
        let target = of_kind(spec, &kind);
        spec.insert(PART.into(), Value::Object(target));
    }
    is_other
}

/// Takes over the answers; what is wrong with them.
pub(super) fn put(spec: &mut Map<String, Value>, fields: &Fields) -> Wrong {
    let mut wrong = Wrong::default();
    let kind = chosen(spec, fields);
    let mut target = of_kind(spec, &kind);
    let all = shape(&kind).map(|shape| shape.fields.iter().chain(shape.rare));
    for asked in all.into_iter().flatten() {
        put_one(&mut target, asked, fields, &mut wrong);
    }
    spec.insert(PART.into(), Value::Object(target));
    wrong
}

fn put_one(target: &mut Map<String, Value>, asked: &Asked, fields: &Fields, wrong: &mut Wrong) {
    let name = asked.name;
    let before = target.get(name);
    match asked.ask {
        Ask::Needed => {
            needed(fields, &[name], wrong);
            let text = typed(fields, name, before).to_owned();
            target.insert(name.into(), text.into());
        }
        Ask::Line => {
            let text = typed(fields, name, before).to_owned();
            // An empty prefix is an answer, as existing automation sends it.
            if !text.is_empty() || name == PREFIX.name && before.is_some() {
                target.insert(name.into(), text.into());
            } else {
                target.remove(name);
            }
        }
        Ask::Switch(_) => match fields.get(name) {
            "true" => drop(target.insert(name.into(), true.into())),
            "false" => drop(target.insert(name.into(), false.into())),
            _ => drop(target.remove(name)),
        },
        Ask::Tags => {
            let before = before.and_then(Value::as_object).cloned();
            match lines::read(fields, name, before.as_ref(), wrong) {
                tags if tags.is_empty() && before.as_ref().is_none_or(|before| !before.is_empty()) => {
                    drop(target.remove(name));
                }
                tags => drop(target.insert(name.into(), Value::Object(tags))),
            }
        }
        Ask::Secret(_) => match secret::read(fields) {
            Some(reference) => drop(target.insert(name.into(), reference)),
            None => drop(target.remove(name)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_that_a_target_has_in_the_contract_is_asked_for_and_no_other() {
        let schema = millrace_protocol::wire::pipeline_schema(false);
        for shape in &KINDS {
            let cases = schema["properties"]["streamingTarget"]["oneOf"].as_array().unwrap();
            let case = cases.iter().find(|case| case["properties"]["type"]["const"] == shape.word).unwrap();
            let known = case["properties"].as_object().unwrap().keys().map(String::as_str);
            let mut known: Vec<&str> =
                known.filter(|name| *name != "type" && !OF_EVERY_TARGET.contains(name)).collect();
            known.sort_unstable();
            let mut here: Vec<&str> = shape.fields.iter().chain(shape.rare).map(|asked| asked.name).collect();
            here.sort_unstable();
            assert_eq!(here, known, "{}", shape.word);
            for asked in shape.fields.iter().chain(shape.rare) {
                let required = case["required"].as_array().unwrap().iter().any(|name| name == asked.name);
                assert_eq!(matches!(asked.ask, Ask::Needed), required, "{} {}", shape.word, asked.name);
            }
        }
    }
}
