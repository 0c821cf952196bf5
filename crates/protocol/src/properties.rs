//! Reads `advancedProperties` against the table of `advanced`: values, problems, findings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_model::{ByteSize, Finding};

use crate::advanced::{self, AdvancedProperties, KEYS, Key, Rule, Translate};
use crate::fault::{HONOURED, MEANINGLESS, NOT_BUILT, Problem, Wrong};
use crate::measure::{parse_duration, parse_size, shown_duration, shown_size};
use crate::name::{refuse_publication_name, refuse_slot_name};
use crate::plain_secret;
use crate::tree::Node;
use crate::validate::Report;
use millrace_model::nearest;

const PATH: &str = "advancedProperties";

/// A checked value.
#[derive(Clone, Debug)]
enum Value {
    Duration(Duration),
    Size(ByteSize),
    Count(u64),
    Text(String),
}

/// Values by the name of their key; defaults where nothing was written and there is one.
pub(crate) struct Properties(BTreeMap<&'static str, Value>);

/// Reads all of them. `node` is the map, or nothing where the file has none; `source` is the source's type.
pub(crate) fn read(node: Option<&Node>, source: &str, report: &mut Report) -> Properties {
    let mut written: BTreeMap<&'static str, (String, Value)> = BTreeMap::new();
    for (name, value) in node.into_iter().flat_map(Node::entries) {
        let path = format!("{PATH}.{name}");
        let Some(text) = value.as_text() else {
            let wrong = format!("must be a text, not {}", value.value);
            let cure = format!("put the value in quotes: `{name}: \"…\"`");
            report.problem(Wrong::new(wrong, cure).at(path, value.line));
            continue;
        };
        let is_ours = KEYS.iter().any(|key| key.name == name || key.aliases.iter().any(|alias| alias.name == name));
        // Our own keys have rules of their own, and no place for a secret.
        if let Some(problem) = plain_secret::refuse(name, text, &path, value.line).filter(|_| !is_ours) {
            report.problem(problem);
            continue;
        }
        let Some((key, text)) = find(name, text, &path, report) else { continue };
        if !key.source.is_empty() && key.source != source {
            let about = format!("`{name}` means nothing for a {source} source and is kept as it is");
            report.finding(Finding::warning(MEANINGLESS, &path, about, "remove it, or leave it: it changes nothing"));
        }
        match parse(key, &text) {
            Err(wrong) => report.problem(wrong.at(path, value.line)),
            Ok(parsed) => {
                if let Some((earlier, _)) = written.insert(key.name, (name.to_owned(), parsed)) {
                    let twice = format!("says the same thing as `{earlier}`, which is also there");
                    report.problem(Wrong::new(twice, "keep one of the two").at(path, value.line));
                }
            }
        }
    }
    refuse_unbuilt(&written, report);
    let defaults = KEYS.iter().filter(|key| !key.default.is_empty());
    let mut values: BTreeMap<_, _> =
        defaults.filter_map(|key| parse(key, key.default).ok().map(|value| (key.name, value))).collect();
    values.extend(written.into_iter().map(|(name, (_, value))| (name, value)));
    Properties(values)
}

/// The key that is meant, and its value in our words; nothing where there is none, which is then reported.
fn find(name: &str, text: &str, path: &str, report: &mut Report) -> Option<(&'static Key, String)> {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        let theirs = advanced::SNAPSHOT_MODES.iter().find(|(theirs, _)| name == "snapshot.mode" && *theirs == text);
        return Some((key, theirs.map_or(text, |(_, ours)| ours).to_owned()));
    }
    for key in KEYS {
        let Some(alias) = key.aliases.iter().find(|alias| alias.name == name) else { continue };
        let ours = match alias.translate {
            Translate::Same => text.to_owned(),
            // Elsewhere 0 turns it off; here it cannot be: a checkpoint that stands still pins the source's log.
            Translate::Milliseconds if text == "0" => key.default.to_owned(),
            Translate::Milliseconds => format!("{text}ms"),
            Translate::Words(words) => {
                words.iter().find(|(theirs, _)| *theirs == text).map_or(text, |(_, ours)| ours).to_owned()
            }
        };
        report.finding(Finding::info(HONOURED, path, format!("honoured as `{}: {ours}`", key.name)));
        return Some((key, ours));
    }
    let cure = match nearest(name, KEYS.iter().map(|key| key.name)) {
        Some(meant) => format!("did you mean `{meant}`? Otherwise leave it: it changes nothing"),
        None => "remove it, or leave it: it changes nothing".into(),
    };
    report.finding(Finding::warning(
        MEANINGLESS,
        path,
        format!("`{name}` means nothing here and is kept as it is"),
        cure,
    ));
    None
}

fn parse(key: &Key, text: &str) -> Result<Value, Wrong> {
    let plain = |refused: Option<Wrong>| refused.map_or_else(|| Ok(Value::Text(text.to_owned())), Err);
    match &key.rule {
        Rule::Duration { least, most } => match parse_duration(text) {
            Some(duration) if (*least..=*most).contains(&duration) => Ok(Value::Duration(duration)),
            _ => Err(out_of_range(key, "a duration", [shown_duration(*least), shown_duration(*most)], text)),
        },
        Rule::Size { least, most } => match parse_size(text) {
            Some(size) if (*least..=*most).contains(&size) => Ok(Value::Size(size)),
            _ => Err(out_of_range(key, "a size", [shown_size(*least), shown_size(*most)], text)),
        },
        Rule::Count { least, most } => match text.parse::<u64>() {
            Ok(count) if (*least..=*most).contains(&count) => Ok(Value::Count(count)),
            _ => Err(out_of_range(key, "a whole number", [least.to_string(), most.to_string()], text)),
        },
        Rule::Slot => plain(refuse_slot_name(text)),
        Rule::Publication => plain(refuse_publication_name(text)),
        Rule::Path => plain(
            text.is_empty().then(|| Wrong::new("must not be empty", "write the path of a folder, or leave it out")),
        ),
        Rule::Bool => word(key, text, ["true", "false"]),
        Rule::Words(words) => word(key, text, words.iter().map(|word| word.word)),
    }
}

/// What is not `kind`, or lies outside of its range.
fn out_of_range(key: &Key, kind: &str, [least, most]: [String; 2], text: &str) -> Wrong {
    let units = match key.rule {
        Rule::Duration { .. } => "; units are ms, s, m and h",
        Rule::Size { .. } => "; units are B, KiB, MiB, GiB and TiB",
        Rule::Bool | Rule::Count { .. } | Rule::Words(_) | Rule::Slot | Rule::Publication | Rule::Path => "",
    };
    let example = if key.default.is_empty() { &least } else { key.default };
    Wrong::new(
        format!("must be {kind} from {least} to {most}, not `{text}`"),
        format!("write for example `{}: \"{example}\"`{units}", key.name),
    )
}

fn word<'a>(key: &Key, text: &str, words: impl IntoIterator<Item = &'a str>) -> Result<Value, Wrong> {
    let words: Vec<&str> = words.into_iter().collect();
    match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
        Some(word) => Ok(Value::Text((*word).to_owned())),
        None => Err(Wrong::new(
            format!("must be one of {}, not `{text}`", words.join(", ")),
            match nearest(text, words.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("write `{}: \"{}\"`, or leave it out: that is the default", key.name, key.default),
            },
        )),
    }
}

/// Reports every key that holds, written or by default, a word that this version cannot do.
fn refuse_unbuilt(written: &BTreeMap<&'static str, (String, Value)>, report: &mut Report) {
    for key in KEYS {
        let Rule::Words(words) = &key.rule else { continue };
        let (name, value) = match written.get(key.name) {
            Some((name, Value::Text(value))) => (name.as_str(), value.as_str()),
            _ => (key.name, key.default),
        };
        if words.iter().any(|word| word.word == value && !word.built) {
            let default = if written.contains_key(key.name) { "" } else { ", which is the default," };
            let works: Vec<&str> = words.iter().filter(|word| word.built).map(|word| word.word).collect();
            let cure = format!("write `{PATH}: {{{}: {}}}`", key.name, works.join("` or `"));
            let message = format!("`{value}`{default} is not built yet");
            report.unbuilt(Problem::new(NOT_BUILT, format!("{PATH}.{name}"), message, cure));
        }
    }
}

impl Properties {
    /// The typed settings; nothing where a value was refused, which has been reported.
    pub(crate) fn settings(&self, base: &Path) -> Option<AdvancedProperties> {
        Some(AdvancedProperties {
            snapshot_mode: advanced::SnapshotMode::from_word(self.text("snapshot.mode")?)?,
            snapshot_parallelism: u32::try_from(self.count("snapshot.parallelism")?).ok()?,
            commit_interval: self.duration("commit.interval")?,
            commit_bytes: self.size("commit.bytes")?,
            file_max_bytes: self.size("file.max.bytes")?,
            heartbeat_interval: self.duration("heartbeat.interval")?,
            memory_limit: self.size("memory.limit")?,
            spill_directory: self.text("spill.directory").map(|path| base.join(PathBuf::from(path))),
            spill_limit: self.size("spill.limit")?,
            stop_deadline: self.duration("stop.deadline")?,
            schema_change: advanced::SchemaChange::from_word(self.text("schema.change")?)?,
            slot_name: self.text("slot.name").map(str::to_owned),
            publication_name: self.text("publication.name").map(str::to_owned),
            publication_mode: advanced::PublicationMode::from_word(self.text("publication.mode")?)?,
            pgoutput_binary: advanced::Binary::from_word(self.text("pgoutput.binary")?)?,
            pgoutput_streaming: self.text("pgoutput.streaming")? == "true",
            server_id: self.count("server.id").and_then(|id| u32::try_from(id).ok()),
            mysql_position: advanced::MysqlPosition::from_word(self.text("mysql.position")?)?,
        })
    }

    fn text(&self, key: &str) -> Option<&str> {
        if let Some(Value::Text(text)) = self.0.get(key) { Some(text) } else { None }
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        if let Some(Value::Duration(duration)) = self.0.get(key) { Some(*duration) } else { None }
    }

    fn size(&self, key: &str) -> Option<ByteSize> {
        if let Some(Value::Size(size)) = self.0.get(key) { Some(*size) } else { None }
    }

    fn count(&self, key: &str) -> Option<u64> {
        if let Some(Value::Count(count)) = self.0.get(key) { Some(*count) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_of_the_table_is_a_value_that_its_own_rule_accepts() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            assert!(parse(key, key.default).is_ok(), "{}", key.name);
        }
        let settings = read(None, "postgres", &mut Report::default()).settings(Path::new("/etc"));
        let settings = settings.expect("the defaults make whole settings");
        assert_eq!(settings.commit_interval, Duration::from_secs(10));
        assert_eq!(settings.memory_limit, ByteSize::mib(200));
        assert!(settings.pgoutput_streaming && settings.slot_name.is_none());
    }

    #[test]
    fn no_name_stands_twice_among_keys_and_aliases() {
        let mut names: Vec<&str> =
            KEYS.iter().flat_map(|key| key.aliases.iter().map(|alias| alias.name).chain([key.name])).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
