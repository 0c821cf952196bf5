//! The pipeline file as a tree of plain values with the lines they stand in, before anybody asks what they mean.
//!
//! Why not straight into the settings: a reader that stops at the first wrong field shows one problem a run. The tree
//! lets `shape` look at everything and report all of it. Keys that stand twice are refused here, in JSON too.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Spanned, UserMessageFormatter};

use crate::fault::{Problem, UNREADABLE};

/// A value and the line where it, or its key, stands; 0 where the reader does not say (JSON).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) line: u64,
}

/// What YAML and JSON have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// How a pipeline is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

impl Node {
    /// Reads a whole document.
    pub(crate) fn parse(text: &str, notation: Notation) -> Result<Self, Problem> {
        match notation {
            // Without the excerpt that the parser would quote: a secret written by mistake may stand on that line.
            Notation::Yaml => serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false })
                .map(|read: Spanned<Read<Spanned<String>>>| read.into())
                .map_err(|error| not_yaml(&error)),
            Notation::Json => {
                let mut reader = serde_json::Deserializer::from_str(text);
                let read = Spanned::<Read<String>>::deserialize(&mut reader).map_err(|error| not_json(&error))?;
                reader.end().map_err(|error| more_than_one(error.line() as u64))?;
                Ok(read.into())
            }
        }
    }

    /// The value of a key; `null` is as good as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, node)| key == name && node.value != Value::Null).map(|(_, node)| node)
    }

    /// Its entries, without those that are `null`; none if it is no map.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        let entries = if let Value::Map(entries) = &self.value { entries.as_slice() } else { &[] };
        entries.iter().filter(|(_, node)| node.value != Value::Null).map(|(key, node)| (key.as_str(), node))
    }

    /// Its elements; none if it is no list.
    pub(crate) fn elements(&self) -> &[Node] {
        if let Value::List(elements) = &self.value { elements } else { &[] }
    }

    /// Its number, if it is a whole one.
    pub(crate) fn as_whole(&self) -> Option<i128> {
        if let Value::Whole(number) = self.value { Some(number) } else { None }
    }

    /// Its value, if it is true or false.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value { Some(value) } else { None }
    }

    /// Its text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }
}

/// The parser's words for people, save where what it says is about the file as a whole.
fn not_yaml(error: &serde_saphyr::Error) -> Problem {
    let line = error.location().map_or(0, |location| location.line());
    if let serde_saphyr::Error::MultipleDocuments { .. } = error.without_snippet() {
        return more_than_one(line);
    }
    if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = error.without_snippet() {
        let key = key.as_deref().unwrap_or("?");
        let message = format!("the key `{key}` stands twice, the second time at line {line}");
        return Problem::new(UNREADABLE, "", message, "keep one of the two").line(line);
    }
    let cure =
        "look at that line, and the one before: indentation is spaces, a text with `: ` or `#` in it needs quotes";
    let said = error.render_with_formatter(&UserMessageFormatter);
    Problem::new(UNREADABLE, "", format!("this is not YAML: {said}"), cure).line(line)
}

fn not_json(error: &serde_json::Error) -> Problem {
    let line = error.line() as u64;
    if error.is_eof() {
        let cure = "close what is open: each \", { and [ has its other half";
        return Problem::new(UNREADABLE, "", format!("this is not JSON: it ends too early, at line {line}"), cure)
            .line(line);
    }
    let cure = "look at that place: keys and texts stand in \"…\", no comma before } or ], and no key stands twice";
    Problem::new(UNREADABLE, "", format!("this is not JSON: {error}"), cure).line(line)
}

/// Another document, or anything else, behind the end of the first.
fn more_than_one(line: u64) -> Problem {
    let message = format!("a file holds one pipeline, and at line {line} a second document begins");
    let cure = "write each pipeline into a file of its own, and run each by an agent or a command of its own";
    Problem::new(UNREADABLE, "", message, cure).line(line)
}

impl fmt::Display for Value {
    /// What was found, for messages: short, and only the kind where it is large.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Text(text) if text.chars().count() > LONGEST => f.write_str("a long text"),
            Self::Text(text) => write!(f, "`{text}`"),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a map"),
        }
    }
}

/// A value as it is read, with keys as the notation can give them.
struct Read<K> {
    value: Value,
    key: PhantomData<K>,
}

/// A key, with its line where the notation knows it.
trait Key: DeserializeOwned {
    fn name_and_line(self) -> (String, u64);
}

impl Key for String {
    fn name_and_line(self) -> (String, u64) {
        (self, 0)
    }
}

impl Key for Spanned<String> {
    fn name_and_line(self) -> (String, u64) {
        (self.value, self.referenced.line())
    }
}

impl<K> From<Spanned<Read<K>>> for Node {
    fn from(read: Spanned<Read<K>>) -> Self {
        Self { line: read.referenced.line(), value: read.value.value }
    }
}

impl<'de, K: Key> Deserialize<'de> for Read<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(ValueVisitor::<K>(PhantomData))?;
        Ok(Self { value, key: PhantomData })
    }
}

struct ValueVisitor<K>(PhantomData<K>);

impl<'de, K: Key> Visitor<'de> for ValueVisitor<K> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Ok(Read::<K>::deserialize(deserializer)?.value)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Real(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element::<Spanned<Read<K>>>()? {
            elements.push(element.into());
        }
        Ok(Value::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some((key, value)) = access.next_entry::<K, Read<K>>()? {
            let (name, line) = key.name_and_line();
            if entries.iter().any(|(earlier, _)| *earlier == name) {
                return Err(de::Error::custom(format!("the key `{name}` stands twice")));
            }
            // The key's line: a map or a list below it begins a line later.
            entries.push((name, Node { line, value: value.value }));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_give_the_same_tree_and_yaml_knows_its_lines() {
        let yaml = Node::parse("a: 1\nb:\n  - x\n  - {c: true, d: null}\n", Notation::Yaml).unwrap();
        let json = Node::parse(r#"{"a":1,"b":["x",{"c":true,"d":null}]}"#, Notation::Json).unwrap();
        let b = yaml.get("b").unwrap();
        assert_eq!(b.elements()[0].as_text(), Some("x"));
        assert_eq!(b.elements()[1].line, 4);
        assert_eq!(b.elements()[1].get("d"), None);
        assert_eq!(json.get("b").unwrap().elements()[1].get("c").unwrap().value, Value::Bool(true));
        assert_eq!(json.get("a").unwrap().value, yaml.get("a").unwrap().value);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_in_both_notations() {
        for (text, notation) in [("a: 1\na: 2\n", Notation::Yaml), (r#"{"a":1,"a":2}"#, Notation::Json)] {
            let problem = Node::parse(text, notation).unwrap_err();
            assert!(problem.message.contains("the key `a` stands twice"), "{}", problem.message);
        }
    }

    #[test]
    fn a_second_document_is_refused_in_the_words_of_people() {
        for (text, notation) in [("a: 1\n---\na: 2\n", Notation::Yaml), ("{\"a\":1}\n\n{\"a\":2}", Notation::Json)] {
            let problem = Node::parse(text, notation).unwrap_err();
            assert!(problem.message.starts_with("a file holds one pipeline, and at line 3 "), "{problem:?}");
            assert!(problem.line == 3 && problem.cure.contains("a file of its own"), "{problem:?}");
        }
        // The marks around a single document are no second one.
        assert!(Node::parse("---\na: 1\n...\n", Notation::Yaml).is_ok());
    }

    #[test]
    fn no_message_speaks_of_the_library_that_read_the_file() {
        let texts = [
            ("a: *x\n", Notation::Yaml),
            ("a: !!binary x\n", Notation::Yaml),
            ("? [a, b]\n: c\n", Notation::Yaml),
            ("~: c\n", Notation::Yaml),
            ("a: \"b\n", Notation::Yaml),
            ("a: [b\n", Notation::Yaml),
            ("{\"a\": [1", Notation::Json),
            ("{\"a\": }", Notation::Json),
            ("{a: 1}", Notation::Json),
            ("", Notation::Json),
        ];
        let theirs = ["from_str", "Options", "Option<", "deserialize", "EOF", "enum", "struct", "serde", "policy"];
        for (text, notation) in texts {
            let problem = Node::parse(text, notation).expect_err(text);
            let found = theirs.iter().find(|word| problem.message.contains(**word));
            assert_eq!(found, None, "{text:?}: {}", problem.message);
        }
    }

    #[test]
    fn a_syntax_error_names_its_line_and_quotes_nothing_of_it() {
        let problem = Node::parse("a: 1\nb: [s3cret\nc: }\n", Notation::Yaml).unwrap_err();
        assert!(problem.message.contains("line"), "{}", problem.message);
        assert!(problem.line > 1, "{problem:?}");
        assert!(!problem.message.contains("s3cret"), "{}", problem.message);
    }
}
