//! The members of a flat body, read one by one, so that everything that is wrong with it is said at once.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::fault::{Refused, Violation};

/// What was sent, and what was found wrong with it so far.
pub(crate) struct Members {
    members: Map<String, Value>,
    known: Vec<&'static str>,
    violations: Vec<Violation>,
}

impl Members {
    /// `null` is as good as absent, for a member that nobody knows, too.
    pub(crate) fn of(sent: Value) -> Result<Self, Refused> {
        let Value::Object(mut members) = sent else { return Err(Refused::invalid("", "must be a JSON object")) };
        members.retain(|_, value| !value.is_null());
        Ok(Self { members, known: Vec::new(), violations: Vec::new() })
    }

    /// Whether it was sent.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// A text that may be absent.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.wrong(name, "must be a text");
                None
            }
        }
    }

    /// A text that must be there; empty where it is not, which is noted.
    pub(crate) fn required_text(&mut self, name: &'static str) -> String {
        if !self.has(name) {
            self.wrong(name, "is missing");
        }
        self.text(name).unwrap_or_default()
    }

    /// A whole number from 1 to `most`.
    pub(crate) fn number(&mut self, name: &'static str, most: i64) -> Option<i64> {
        let number = whole(&self.take(name)?).filter(|number| (1..=most).contains(number));
        if number.is_none() {
            self.wrong(name, format!("must be a whole number from 1 to {most}"));
        }
        number
    }

    /// `true` or `false`, or absent.
    pub(crate) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.take(name)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.wrong(name, "must be `true` or `false`");
        }
        flag
    }

    /// A list of texts, which may be empty.
    pub(crate) fn list(&mut self, name: &'static str) -> Option<Vec<String>> {
        let value = self.take(name)?;
        let list = value.as_array();
        let texts: Vec<String> = list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        if list.is_none_or(|list| list.len() != texts.len()) {
            self.wrong(name, "must be a list of texts");
        }
        Some(texts)
    }

    /// A list of at least one text.
    pub(crate) fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let value = self.take(name)?;
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<String> =
            list.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned).collect();
        if texts.is_empty() || texts.len() != list.len() {
            self.wrong(name, "must be a list of at least one text");
        }
        Some(texts)
    }

    /// A map of texts; empty where it is absent.
    pub(crate) fn map(&mut self, name: &'static str) -> BTreeMap<String, String> {
        let value = self.take(name);
        let map = value.as_ref().and_then(Value::as_object);
        let texts =
            map.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let texts: BTreeMap<_, _> = texts.collect();
        if value.is_some() && map.is_none_or(|map| map.len() != texts.len()) {
            self.wrong(name, "must be a map of texts");
        }
        texts
    }

    /// A whole number from 1 that must be there; 0 where it is not, which is noted.
    pub(crate) fn required_number(&mut self, name: &'static str) -> i64 {
        let number = self.take(name).as_ref().and_then(whole).filter(|number| *number > 0);
        if number.is_none() {
            self.wrong(name, "must be a whole number from 1");
        }
        number.unwrap_or_default()
    }

    /// Whatever it is.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.members.remove(name)
    }

    /// Notes a problem.
    pub(crate) fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.violations.push(Violation { field: name.to_owned(), message: message.into() });
    }

    /// Adds what a rule has found, unless that member is known to be wrong already.
    pub(crate) fn also<T>(&mut self, checked: Result<T, Refused>) -> Result<Option<T>, Refused> {
        match checked {
            Ok(checked) => Ok(Some(checked)),
            Err(Refused::Invalid(found)) => {
                let new = found.into_iter().filter(|one| self.violations.iter().all(|other| other.field != one.field));
                let new: Vec<_> = new.collect();
                self.violations.extend(new);
                Ok(None)
            }
            Err(refused) => Err(refused),
        }
    }

    /// Refuses everything that was wrong, and every member that nobody has asked for.
    pub(crate) fn finish(mut self) -> Result<(), Refused> {
        let known = self.known.join(", ");
        let unknown = self
            .members
            .keys()
            .map(|name| Violation { field: name.clone(), message: format!("is not known here; known: {known}") });
        self.violations.extend(unknown);
        if self.violations.is_empty() { Ok(()) } else { Err(Refused::Invalid(self.violations)) }
    }
}

/// 30.0 is a whole number, too.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_null_is_absent_and_what_nobody_asks_for_is_refused() {
        let mut members = Members::of(json!({"name": null, "anything": null, "nmae": "north"})).unwrap();
        assert!(!members.has("name") && members.text("name").is_none());
        let Err(Refused::Invalid(found)) = members.finish() else { panic!("`nmae` is not known") };
        assert_eq!(found.iter().map(|one| &*one.field).collect::<Vec<_>>(), ["nmae"]);
    }

    #[test]
    fn a_whole_number_may_be_written_as_json_likes() {
        let mut members = Members::of(json!({"a": 7, "b": 7.0, "c": 7.5, "d": 0, "e": null})).unwrap();
        let numbers = ["a", "b", "c", "d", "e"].map(|name| members.required_number(name));
        assert_eq!(numbers, [7, 7, 0, 0, 0]);
    }
}
