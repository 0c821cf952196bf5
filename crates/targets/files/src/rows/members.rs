//! JSON objects as our writer writes them, taken apart without a look into the values.

use std::io;

use serde::Deserialize;

/// The members of a JSON object without white space between its parts: name and value as they are written.
///
/// Why not serde: it gives a value away only as what it becomes, and a number of the user's shall stay as it is written.
pub(super) struct Members<'a> {
    rest: &'a str,
}

impl<'a> Members<'a> {
    pub(super) fn of(object: &'a str) -> io::Result<Self> {
        let inner = object.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        inner.map(|rest| Self { rest }).ok_or_else(|| broken("a row that is no object"))
    }

    fn member(&mut self) -> io::Result<(&'a str, &'a str)> {
        let (name, rest) = self.rest.split_at(end_of(self.rest)?);
        let rest = rest.strip_prefix(':').ok_or_else(|| broken("a name without a value"))?;
        let (value, rest) = rest.split_at(end_of(rest)?);
        self.rest = match rest.strip_prefix(',') {
            Some(more) if !more.is_empty() => more,
            None if rest.is_empty() => "",
            _ => return Err(broken("a value that does not end")),
        };
        Ok((name, value))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = io::Result<(&'a str, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.member())
    }
}

/// Where the JSON value ends that a text begins with.
fn end_of(text: &str) -> io::Result<usize> {
    let (mut depth, mut in_string, mut is_escaped) = (0u32, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => {
                    in_string = false;
                    if depth == 0 {
                        return Ok(at + 1);
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return Ok(at),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            b',' | b':' if depth == 0 => return Ok(at),
            _ => {}
        }
    }
    if in_string || depth > 0 { Err(broken("a value that does not end")) } else { Ok(text.len()) }
}

/// A value that is not null.
pub(super) fn there(value: &str) -> Option<&str> {
    (value != "null" && !value.is_empty()).then_some(value)
}

/// A JSON string as the text that it means.
pub(super) fn unquoted(text: &str) -> io::Result<String> {
    json(text)
}

/// A value; an absent one is null.
pub(super) fn json<'a, T: Deserialize<'a>>(text: &'a str) -> io::Result<T> {
    Ok(serde_json::from_str(if text.is_empty() { "null" } else { text })?)
}

/// What is wrong with a file.
pub(super) fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
