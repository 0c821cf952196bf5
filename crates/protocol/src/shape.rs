//! The shape of the pipeline file, as data: which fields there are, what they hold, what is the default, what is built.
//!
//! One table, three readers: `validate` holds a file against it, `schema` prints it as JSON Schema, and the test of
//! `docs/specs/pipeline.md` holds the documentation against it. So the three cannot drift apart.

use crate::fault::Wrong;

/// A field of a map.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    /// What it is when left out, where that is a word.
    pub(crate) default: Option<&'static str>,
    pub(crate) shape: Shape,
    pub(crate) about: &'static str,
}

/// What a field holds.
pub(crate) enum Shape {
    /// A text that its rule does not refuse.
    Text(TextRule),
    /// A whole number in a range.
    Whole { least: i128, most: i128 },
    /// true or false
    Bool,
    /// One of some words, in any case.
    Word(&'static [Word]),
    /// A map with these fields.
    Map(&'static [Field]),
    /// A map whose fields hang on its `type`.
    Tagged {
        cases: &'static [Case],
        /// Types of the contract that nothing is known about yet.
        later: &'static [&'static str],
    },
    /// A list of at least one.
    List(&'static Shape),
    /// A map of texts to texts.
    Texts,
    /// The same, held against the table of `advanced`.
    Advanced,
    /// A secret reference.
    Secret,
}

/// What a text may be: as a function for us, in the words of JSON Schema for others.
pub(crate) struct TextRule {
    /// Why it is refused.
    pub(crate) refuse: fn(&str) -> Option<Wrong>,
    /// Least characters.
    pub(crate) least: usize,
    /// Most characters.
    pub(crate) most: Option<usize>,
    /// What it matches.
    pub(crate) pattern: Option<&'static str>,
    /// What it does not match.
    pub(crate) never: Option<&'static str>,
}

/// One of the words that a field may hold.
pub(crate) struct Word {
    pub(crate) word: &'static str,
    pub(crate) built: bool,
}

/// One of the types that a map may have.
pub(crate) struct Case {
    pub(crate) word: &'static str,
    pub(crate) built: bool,
    pub(crate) fields: &'static [Field],
}

/// A word that works today.
pub(crate) const fn now(word: &'static str) -> Word {
    Word { word, built: true }
}

impl Field {
    /// A field that has to be there.
    pub(crate) const fn required(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, required: true, default: None, shape, about }
    }

    /// A field that may be left out.
    pub(crate) const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { required: false, ..Self::required(name, shape, about) }
    }

    /// What it is when it is left out.
    pub(crate) const fn default(mut self, word: &'static str) -> Self {
        self.default = Some(word);
        self
    }
}
