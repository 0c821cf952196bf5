//! Names that the pipeline makes in the source: the default of slot and publication, and what the user may write.

use sha2::{Digest, Sha256};

use crate::fault::Wrong;

/// PostgreSQL cuts names longer than this (NAMEDATALEN - 1).
const LONGEST: usize = 63;
const HASH_DIGITS: usize = 8;

/// The default name of slot and publication: `millrace_NAME`. Characters that a slot's name cannot have become `_`; then,
/// and where the name is cut to 63 characters, 8 hex digits of the name's sha256 follow, so that no two names share one.
pub fn default_slot_name(pipeline: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut name = String::from("millrace_");
    name.extend(pipeline.chars().map(|c| if allowed(c) { c } else { '_' }));
    if !pipeline.chars().all(allowed) || name.len() > LONGEST {
        name.truncate(LONGEST - HASH_DIGITS);
        let digest = Sha256::digest(pipeline.as_bytes());
        name.extend(digest.iter().take(HASH_DIGITS / 2).flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit));
    }
    name
}

fn hex_digit(half: u8) -> char {
    char::from_digit(half.into(), 16).expect("half a byte is one hexadecimal digit")
}

/// Why `text` cannot name a replication slot.
pub(crate) fn refuse_slot_name(text: &str) -> Option<Wrong> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (text.is_empty() || text.len() > LONGEST || !text.chars().all(allowed)).then(|| {
        Wrong::new(
            format!("must be 1 to {LONGEST} characters of a-z, 0-9 and _, not `{text}`"),
            "write for example `slot.name: millrace_shop`, or leave it out: then it is made from the pipeline's name",
        )
    })
}

/// Why `text` cannot name a publication.
pub(crate) fn refuse_publication_name(text: &str) -> Option<Wrong> {
    (text.is_empty() || text.len() > LONGEST || text.contains('\0')).then(|| {
        Wrong::new(
            format!("must be 1 to {LONGEST} bytes long, not {}", text.len()),
            "write for example `publication.name: millrace_shop`, or leave it out: then it is made from the pipeline's name",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_stays_as_it_is() {
        assert_eq!(default_slot_name("shop"), "millrace_shop");
        assert_eq!(default_slot_name("shop_2"), "millrace_shop_2");
    }

    #[test]
    fn other_characters_and_long_names_get_a_hash_and_never_collide() {
        // sha256("shop-eu") and sha256("Shop") by an independent tool.
        assert_eq!(default_slot_name("shop-eu"), "millrace_shop_eu8c4e0485");
        assert_eq!(default_slot_name("Shop"), "millrace__hopd00aae6b");
        assert_ne!(default_slot_name("a b"), default_slot_name("a-b"));
        let (one, other) = (default_slot_name(&"x".repeat(80)), default_slot_name(&"x".repeat(81)));
        assert_eq!((one.len(), other.len()), (63, 63));
        assert_ne!(one, other);
        assert_eq!(default_slot_name(&"x".repeat(54)).len(), 63);
        assert_eq!(default_slot_name(&"x".repeat(54)), format!("millrace_{}", "x".repeat(54)));
    }

    #[test]
    fn every_default_is_a_name_that_a_slot_may_have() {
        for name in ["shop", "Größe", "", "日本", &"é".repeat(200)] {
            assert_eq!(refuse_slot_name(&default_slot_name(name)), None, "{name}");
        }
    }
}
