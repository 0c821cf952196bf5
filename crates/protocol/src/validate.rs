//! Holds a file's tree against the shape and reports everything at once: unknown fields with the nearest known name,
//! missing ones, wrong values, and what is valid but not built yet.

use millrace_model::Finding;

use crate::fault::{NOT_BUILT, PLAIN_SECRET, Problem, Wrong};
use crate::fields::SECRET;
use crate::plain_secret;
use crate::shape::{Case, Field, Shape, Word};
use crate::tree::{Node, Value};
use millrace_model::nearest;

/// What was found on the way through a file.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Problem>,
    pub(crate) unbuilt: Vec<Problem>,
    pub(crate) findings: Vec<Finding>,
    /// Fields that this time need not be there, or may be empty.
    pub(crate) may_lack: &'static [&'static str],
}

impl Report {
    /// For a part of a pipeline: these required fields may be absent.
    pub(crate) fn of_part(may_lack: &'static [&'static str]) -> Self {
        Self { may_lack, ..Self::default() }
    }

    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(crate) fn unbuilt(&mut self, problem: Problem) {
        self.unbuilt.push(problem);
    }

    pub(crate) fn finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

/// Holds `node` against `shape`.
pub(crate) fn validate(node: &Node, shape: &Shape, path: &str, report: &mut Report) {
    match (shape, &node.value) {
        (Shape::Text(rule), Value::Text(text)) => {
            if let Some(wrong) = (rule.refuse)(text) {
                report.problem(wrong.at(path, node.line));
            }
        }
        (Shape::Whole { least, most }, Value::Whole(number)) if (least..=most).contains(&number) => {}
        (Shape::Bool, Value::Bool(_)) => {}
        (Shape::Word(words), Value::Text(text)) => word(node, text, words, path, report),
        (Shape::Map(fields), Value::Map(_)) => map(node, fields, &[], path, report),
        (Shape::Tagged { cases, later }, Value::Map(_)) => tagged(node, cases, later, path, report),
        (Shape::List(of), Value::List(elements)) if !elements.is_empty() || report.may_lack.contains(&path) => {
            for (index, element) in elements.iter().enumerate() {
                validate(element, of, &format!("{path}[{index}]"), report);
            }
        }
        (Shape::Texts, Value::Map(_)) => texts(node, path, report),
        // `properties` looks at the values.
        (Shape::Advanced, Value::Map(_)) => {}
        (Shape::Secret, Value::Map(_)) => map(node, SECRET, &[], path, report),
        (Shape::Secret, _) => {
            // The value is not quoted: it may be the secret itself.
            let wrong = "must be a reference to a secret, never the secret itself";
            let cure = "write for example `{secretType: env, secretName: SHOP_PASSWORD}`";
            report.problem(Problem::new(PLAIN_SECRET, path, wrong, cure).line(node.line));
        }
        _ => wrong_kind(node, shape, path, report),
    }
}

fn wrong_kind(node: &Node, shape: &Shape, path: &str, report: &mut Report) {
    let (expected, cure): (String, String) = match shape {
        Shape::Text(_) | Shape::Word(_) => match node.value {
            Value::Whole(_) | Value::Real(_) | Value::Bool(_) => {
                ("a text".into(), format!("put it in quotes: \"{}\"", node.value))
            }
            Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                ("a text".into(), "write one text behind the colon".into())
            }
        },
        Shape::Whole { least, most } if least == most => (format!("{least}"), format!("write {least}")),
        Shape::Whole { least, most } => {
            let cure = match node.as_text() {
                _ if matches!(node.value, Value::Whole(_)) => format!("write a number from {least} to {most}"),
                Some(text) if text.parse::<i128>().is_ok() => "write it without quotes".into(),
                _ => "write digits only, without quotes".into(),
            };
            (format!("a whole number from {least} to {most}"), cure)
        }
        Shape::Bool => ("true or false".into(), "write `true` or `false`, without quotes".into()),
        Shape::List(_) => ("a list of at least one".into(), "write entries in brackets: `[…, …]`".into()),
        Shape::Map(fields) => ("a map".into(), fields_cure(fields)),
        Shape::Tagged { .. } => ("a map".into(), "write its fields below it, indented; the first is `type`".into()),
        Shape::Texts | Shape::Advanced | Shape::Secret => {
            ("a map".into(), "write its fields below it, indented, or leave it out".into())
        }
    };
    let wrong = match (shape, &node.value) {
        (Shape::List(_), Value::List(_)) => "must not be empty".into(),
        _ => format!("must be {expected}, not {}", node.value),
    };
    report.problem(Wrong::new(wrong, cure).at(path, node.line));
}

fn fields_cure(fields: &[Field]) -> String {
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    format!("write its fields below it, indented: {}", required.join(", "))
}

/// The map's fields, where some of them are known by `also`.
fn map(node: &Node, fields: &[Field], also: &[&str], path: &str, report: &mut Report) {
    let known = || fields.iter().map(|field| field.name).chain(also.iter().copied());
    for (name, value) in node.entries() {
        match fields.iter().find(|field| field.name == name) {
            Some(field) => validate(value, &field.shape, &join(path, name), report),
            None if also.contains(&name) => {}
            None => {
                let cure = match nearest(name, known()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
                };
                let wrong = Wrong::new("is not a field of the pipeline", cure);
                report.problem(wrong.at(join(path, name), value.line));
            }
        }
    }
    for field in fields.iter().filter(|field| node.get(field.name).is_none()) {
        if field.required && report.may_lack.contains(&join(path, field.name).as_str()) {
            continue;
        }
        if field.required {
            let wrong = Wrong::new("is missing", format!("add it: {}", field.about));
            report.problem(wrong.at(join(path, field.name), 0));
        } else if let (Some(default), Shape::Word(words)) = (field.default, &field.shape) {
            refuse_word(default, words, &join(path, field.name), "left out, it is ", 0, report);
        }
    }
}

fn tagged(node: &Node, cases: &[Case], later: &[&str], path: &str, report: &mut Report) {
    let names: Vec<&str> = cases.iter().map(|case| case.word).chain(later.iter().copied()).collect();
    let at = join(path, "type");
    let Some(kind) = node.get("type") else {
        let wrong = Wrong::new("is missing", format!("add it; known: {}", names.join(", ")));
        return report.problem(wrong.at(at, node.line));
    };
    let built: Vec<&str> = cases.iter().filter(|case| case.built).map(|case| case.word).collect();
    let unbuilt = |word: &str| {
        let cure = format!("what works today: {}", built.join(", "));
        Problem::new(NOT_BUILT, at.clone(), format!("`{word}` is not built yet"), cure).line(kind.line)
    };
    let written = kind.as_text().unwrap_or_default();
    if let Some(case) = cases.iter().find(|case| case.word.eq_ignore_ascii_case(written)) {
        map(node, case.fields, &["type"], path, report);
        if !case.built {
            report.unbuilt(unbuilt(case.word));
        }
    } else if let Some(word) = later.iter().find(|word| word.eq_ignore_ascii_case(written)) {
        // What such a map holds is not known yet, so there is nothing to read on with.
        report.problem(unbuilt(word));
    } else {
        let wrong = format!("must be one of {}, not {}", names.join(", "), kind.value);
        report.problem(Wrong::new(wrong, meant(written, &names, &built)).at(at, kind.line));
    }
}

fn word(node: &Node, text: &str, words: &[Word], path: &str, report: &mut Report) {
    if words.iter().any(|word| word.word.eq_ignore_ascii_case(text)) {
        return refuse_word(text, words, path, "", node.line, report);
    }
    let known: Vec<&str> = words.iter().map(|word| word.word).collect();
    let built: Vec<&str> = words.iter().filter(|word| word.built).map(|word| word.word).collect();
    let wrong = format!("must be one of {}, not {}", known.join(", "), node.value);
    report.problem(Wrong::new(wrong, meant(text, &known, &built)).at(path, node.line));
}

/// The word that was probably meant, or those that work today.
fn meant(written: &str, known: &[&str], built: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("what works today: {}", built.join(", ")),
    }
}

fn refuse_word(text: &str, words: &[Word], path: &str, prelude: &str, line: u64, report: &mut Report) {
    if words.iter().any(|word| word.word.eq_ignore_ascii_case(text) && !word.built) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let works: Vec<String> =
            words.iter().filter(|word| word.built).map(|word| format!("`{name}: {}`", word.word)).collect();
        let message = format!("{prelude}`{}`, which is not built yet", text.to_lowercase());
        let cure = format!("write {}", works.join(" or "));
        report.unbuilt(Problem::new(NOT_BUILT, path, message, cure).line(line));
    }
}

fn texts(node: &Node, path: &str, report: &mut Report) {
    for (name, value) in node.entries() {
        let at = join(path, name);
        if let Some(problem) = plain_secret::refuse(name, value.as_text().unwrap_or_default(), &at, value.line) {
            report.problem(problem);
        } else if value.as_text().is_none() {
            let wrong = format!("must be a text, not {}", value.value);
            report.problem(Wrong::new(wrong, format!("put it in quotes: `{name}: \"…\"`")).at(at, value.line));
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
