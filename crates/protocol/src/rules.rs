//! What the texts of a pipeline may be.

use crate::fault::Wrong;
use crate::shape::TextRule;

pub(crate) const ANY: TextRule = TextRule { refuse: |_| None, least: 0, most: None, pattern: None, never: None };
pub(crate) const FILLED: TextRule = TextRule { refuse: refuse_empty, least: 1, ..ANY };
pub(crate) const PATH: TextRule = TextRule { refuse: refuse_path, least: 1, never: Some(r"^~(/|$)"), ..ANY };
pub(crate) const NAME: TextRule = TextRule { refuse: refuse_name, least: 1, most: Some(LONGEST_NAME), ..ANY };
/// White space is written out: what `\s` holds depends on who reads the pattern.
const HOST_PATTERN: &str = r"^[^\t\n\x0b\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000/@]+$";
pub(crate) const HOST_NAME: TextRule = TextRule { refuse: refuse_host, least: 1, pattern: Some(HOST_PATTERN), ..ANY };
pub(crate) const SCHEMA: TextRule = TextRule { refuse: refuse_schema, least: 1, never: Some(r"^\*$"), ..ANY };
pub(crate) const FOLDER: TextRule = TextRule { refuse: refuse_prefix, never: Some(r"(^|/)\.\.?(/|$)"), ..ANY };

// These become parts of a host or of a path: what else stood in them could lead requests, and the identity that they carry,
// to another host than the one that the agent's policy has seen.
pub(crate) const BUCKET_NAME: TextRule =
    TextRule { refuse: refuse_bucket, least: 1, pattern: Some("^[A-Za-z0-9][A-Za-z0-9._-]*$"), ..ANY };
pub(crate) const REGION_NAME: TextRule =
    TextRule { refuse: refuse_region, least: 1, pattern: Some("^[A-Za-z0-9_-]+$"), ..ANY };
pub(crate) const CONTAINER_NAME: TextRule =
    TextRule { refuse: refuse_container, least: 1, pattern: Some("^[$]?[A-Za-z0-9-]+$"), ..ANY };
pub(crate) const ACCOUNT_NAME: TextRule =
    TextRule { refuse: refuse_account, least: 1, pattern: Some("^[A-Za-z0-9_-]+$"), ..ANY };

const LONGEST_NAME: usize = 255;

fn refuse_empty(text: &str) -> Option<Wrong> {
    text.is_empty().then(|| Wrong::new("must not be empty", "write a value, or leave the field out if it may be"))
}

fn refuse_bucket(text: &str) -> Option<Wrong> {
    let is_name = is_made_of(text, "._-") && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    (!is_name).then(|| {
        Wrong::new(
            "must be the name of a bucket: letters, digits, dots, hyphens and underscores, a letter or a digit first",
            "write the name alone, without `s3://` or `gs://`; a folder in it is `prefix`, of an access point the alias",
        )
    })
}

fn refuse_region(text: &str) -> Option<Wrong> {
    let wrong =
        || Wrong::new("must be the name of a region: letters, digits and hyphens", "write it as in `eu-west-1`");
    (!is_made_of(text, "_-")).then(wrong)
}

fn refuse_container(text: &str) -> Option<Wrong> {
    let is_name = is_made_of(text.strip_prefix('$').unwrap_or(text), "-");
    (!is_name).then(|| {
        Wrong::new(
            "must be the name of a container: letters, digits and hyphens",
            "write the name alone; a folder in it is `prefix`",
        )
    })
}

fn refuse_account(text: &str) -> Option<Wrong> {
    (!is_made_of(text, "_-")).then(|| {
        Wrong::new(
            "must be the name of a storage account: letters and digits",
            "write the name alone: `acme` of `acme.blob.core.windows.net`; another address is `endpoint`",
        )
    })
}

/// At least one letter or digit or one of `more`, and nothing else.
fn is_made_of(text: &str, more: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn refuse_path(text: &str) -> Option<Wrong> {
    match text {
        "" => refuse_empty(text),
        "~" => Some(of_a_shell()),
        _ => text.starts_with("~/").then(of_a_shell),
    }
}

fn of_a_shell() -> Wrong {
    Wrong::new(
        "must not begin with `~`, which means a home folder to shells only",
        "write the whole path, for example `path: /var/lib/millrace/lake`",
    )
}

fn refuse_name(text: &str) -> Option<Wrong> {
    let length = text.chars().count();
    (length == 0 || length > LONGEST_NAME).then(|| {
        Wrong::new(
            format!("must have 1 to {LONGEST_NAME} characters, not {length}"),
            "give the pipeline a short name, for example `name: shop`",
        )
    })
}

fn refuse_host(text: &str) -> Option<Wrong> {
    let no_host = |c: char| c.is_whitespace() || c == '/' || c == '@';
    let wrong = match text {
        "" => "must not be empty",
        _ if text.starts_with('/') => {
            "must be the server's name or address: connections are made by TCP, not by a socket"
        }
        _ if text.contains(no_host) => "must be the server's name or address alone, no URL",
        _ => return None,
    };
    // Not quoted: a pasted URL may hold a password.
    let cure = "write for example `host: db.example.com`; port, database and user are fields of their own";
    Some(Wrong::new(wrong, cure))
}

fn refuse_schema(text: &str) -> Option<Wrong> {
    match text {
        "" => refuse_empty(text),
        "*" => Some(Wrong::new(
            "must be the name of one schema",
            "write one entry for each schema: `{schema: public, table: \"*\"}`",
        )),
        _ => None,
    }
}

fn refuse_prefix(text: &str) -> Option<Wrong> {
    text.split('/').any(|part| part == "." || part == "..").then(|| {
        Wrong::new("must not contain `.` or `..` as a part", "write the folder's path below the root: `raw/shop`")
    })
}
