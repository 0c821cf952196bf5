//! A secret that is a JSON object: its texts by their keys, each overwritten when dropped.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::fault::Cause;

/// The object.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Object(BTreeMap<String, Leaf>);

impl Object {
    /// The parser's own words are left out: they may quote the secret.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The text under a key.
    pub(crate) fn take(mut self, name: &str, key: &str) -> Result<Zeroizing<String>, Cause> {
        let leaf = self.0.remove(key).and_then(|leaf| leaf.0);
        leaf.ok_or_else(|| Cause::KeyMissing(name.to_owned(), key.to_owned()))
    }
}

/// A text, or something else, which is not kept.
struct Leaf(Option<Zeroizing<String>>);

impl<'de> Deserialize<'de> for Leaf {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Texts)
    }
}

struct Texts;

impl<'de> Visitor<'de> for Texts {
    type Value = Leaf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Leaf, E> {
        Ok(Leaf(Some(Zeroizing::new(text.to_owned()))))
    }

    fn visit_string<E>(self, text: String) -> Result<Leaf, E> {
        Ok(Leaf(Some(Zeroizing::new(text))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Leaf, E> {
        Ok(Leaf(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Leaf, E> {
        Ok(Leaf(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Leaf, E> {
        Ok(Leaf(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Leaf, E> {
        Ok(Leaf(None))
    }

    fn visit_unit<E>(self) -> Result<Leaf, E> {
        Ok(Leaf(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Leaf, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Leaf(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Leaf, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Leaf(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_are_values() {
        let text = br#"{"a":"x","b":1,"c":null,"d":[1],"e":{"f":"y"},"g":true,"h":-1,"i":1.5,"j":"\u0041\n"}"#;
        let take = |key: &str| Object::parse(text).unwrap().take("n", key).map(|value| value.to_string());
        assert_eq!(take("a").unwrap(), "x");
        assert_eq!(take("j").unwrap(), "A\n");
        for key in ["b", "c", "d", "e", "f", "g", "h", "i"] {
            assert!(matches!(take(key), Err(Cause::KeyMissing(..))), "{key}");
        }
        for none in ["", "x", "[]", "\"x\"", "1", "{\"a\":\"x\"} y"] {
            assert!(Object::parse(none.as_bytes()).is_none(), "{none}");
        }
    }
}
