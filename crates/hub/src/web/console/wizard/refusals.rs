//! Answers of the wizard that are not taken: which they are, and that none that may be a secret is written down.

use millrace_protocol::{PLAIN_SECRET, wire};
use serde_json::{Map, Value};

use super::form;
use crate::db::drafts::Draft;
use crate::web::console::page::Wrong;

/// An answer that is not taken.
pub(super) struct Refusal {
    /// Where it stands in the body.
    path: String,
    /// It is, or holds, a secret.
    is_secret: bool,
}

/// What the hub's own rules say of a step's answers, at the fields of its form; and where that stands.
pub(super) fn of_step(spec: &Map<String, Value>, step: &str) -> (Wrong, Vec<Refusal>) {
    let (mut wrong, mut refusals) = (Wrong::default(), Vec::new());
    let parts: &[&str] = match step {
        "source" => &["streamingSource", "advancedProperties"],
        "target" => &["streamingTarget"],
        _ => &["streamingTarget", "advancedProperties"],
    };
    let asked = spec.iter().filter(|(part, _)| parts.contains(&part.as_str()));
    let asked: Map<String, Value> = asked.map(|(part, value)| (part.clone(), value.clone())).collect();
    if let Err(problems) = wire::question_body(Value::Object(asked)) {
        for problem in problems.0.iter().filter(|problem| form::is_asked(step, &problem.path)) {
            let about = form::entry(&problem.path).map(|name| format!("`{name}` ")).unwrap_or_default();
            wrong.add(form::field_of(&problem.path), format!("{about}{}; {}", problem.message, problem.cure));
            refusals.push(Refusal { path: problem.path.clone(), is_secret: problem.code == PLAIN_SECRET });
        }
    }
    (wrong, refusals)
}

/// Takes refused answers back that are a secret or may carry one (an address with a password in it, `name=value`): they are shown to
/// whoever typed them, and kept nowhere.
pub(super) fn withdraw(draft: &mut Draft, before: &Map<String, Value>, refused: &[Refusal]) {
    let (mut spec, mut before) = (draft.spec(), before.clone());
    let refused = refused.iter().map(|one| (one.path.as_str(), one.is_secret));
    // A host and the names of the first step are never written so, whatever else was wrong first.
    let never = ["streamingSource.connection.host", "name", "agentId"].map(|path| (path, false));
    for (path, is_secret) in refused.chain(never) {
        let Some((map, name)) = holder(&mut spec, path) else { continue };
        let is_kept = map.get(&name).is_some_and(|typed| !is_secret && !typed.as_str().is_some_and(may_carry_a_secret));
        if is_kept {
            continue;
        }
        let earlier = holder(&mut before, path).and_then(|(map, name)| map.get(&name).cloned());
        match earlier {
            Some(earlier) => drop(map.insert(name, earlier)),
            None => drop(map.remove(&name)),
        }
    }
    draft.body = Value::Object(spec).to_string();
}

/// The map that holds what stands at a path, and its name there: names of properties have dots in them.
fn holder<'a>(map: &'a mut Map<String, Value>, path: &str) -> Option<(&'a mut Map<String, Value>, String)> {
    if map.contains_key(path) {
        return Some((map, path.to_owned()));
    }
    let (name, rest) = map.iter().find_map(|(name, value)| {
        let rest = path.strip_prefix(name.as_str())?.strip_prefix('.')?;
        value.is_object().then(|| (name.clone(), rest))
    })?;
    holder(map.get_mut(&name)?.as_object_mut()?, rest)
}

fn may_carry_a_secret(text: &str) -> bool {
    text.contains("://") || text.contains(['@', '='])
}
