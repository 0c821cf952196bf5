//! The house rules that a program can check: floors, openings, lengths, names, error pages, links, and what must not leak.
//!
//! It reads the sources as text. A rule that needs an exception gets it here, by name and with its reason.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines.
const LONGEST: usize = 500;
/// Files that are longer, with the length that they may not outgrow: to be split, never to grow.
const LONG: [(&str, usize); 1] = [("crates/sources/postgres/src/log.rs", 538)];
/// Words that say nothing, wherever they stand in a name.
const BANNED: [&str; 8] = ["manager", "helper", "helpers", "util", "utils", "common", "misc", "processor"];
/// Words that say nothing as a whole name.
const BANNED_ALONE: [&str; 4] = ["info", "data", "item", "handler"];
/// Names with such a word that are not ours to choose.
const GIVEN: [(&str, &str); 6] = [
    // A severity of findings, a word of the contract.
    ("crates/model/src/finding.rs", "info"),
    // The associated type of bodies.
    ("crates/hub/src/serve/bounds.rs", "Data"),
    // The associated type of iterators.
    ("crates/sources/postgres/src/decode/message.rs", "Item"),
    ("crates/targets/files/src/rows/members.rs", "Item"),
    // PostgreSQL's own word for the folder of a cluster.
    ("crates/testkit/src/postgres.rs", "data"),
    ("crates/testkit/src/postgres/folder.rs", "data"),
];
/// A processor's time is that of a CPU.
const CPU: &str = "processor_time";
/// Codes of the scripted source and target: they never leave a test.
const TEST_CODES: &str = "TK-";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// All files of the repository with one of these endings: path from the root, text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let shown = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push((shown, fs::read_to_string(&path).expect("a text")));
            }
        }
    }
    assert!(!found.is_empty(), "no files end in {endings:?}: the test looks at the wrong place");
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    files(&[".rs"])
}

#[expect(clippy::needless_pass_by_value, reason = "nobody has a use for it afterwards")]
fn none(breaches: Vec<String>) {
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// The floor of a package: what it may stand on lies below it.
fn floor(folder: &str) -> Option<u8> {
    match folder {
        "crates/model" => Some(0),
        // Half a floor up: secrets and stores alike stand on it.
        "crates/identity" => Some(1),
        "crates/protocol" | "crates/engine" | "crates/secrets" => Some(2),
        "crates/agent" | "crates/hub" => Some(3),
        // The one binary: the roof over both halves.
        "crates/cli" => Some(4),
        // Beside the house: they may use all of it, and nothing of it may use them.
        "crates/testkit" => Some(5),
        "xtask" => Some(6),
        folder if folder.starts_with("crates/sources/") || folder.starts_with("crates/targets/") => Some(2),
        _ => None,
    }
}

struct Package {
    folder: String,
    name: String,
    floor: u8,
    manifest: String,
}

fn package((path, manifest): (String, String)) -> Package {
    let folder = path.trim_end_matches("/Cargo.toml").to_owned();
    let floor = floor(&folder);
    assert!(floor.is_some(), "{folder} has no floor; give it one in this test");
    let line = manifest.lines().find(|line| line.starts_with("name = ")).expect("a package has a name");
    let name = line.trim_start_matches("name = ").trim_matches('"').to_owned();
    Package { folder, name, floor: floor.unwrap_or_default(), manifest }
}

#[test]
fn dependencies_go_down_and_two_crates_of_one_floor_never_know_each_other() {
    let manifests = files(&["Cargo.toml"]).into_iter().filter(|(path, _)| path != "Cargo.toml");
    let packages: Vec<Package> = manifests.map(package).collect();
    assert!(packages.len() > 8, "only {} packages were found", packages.len());
    let (mut edges, mut breaches) = (0, Vec::new());
    for mine in &packages {
        let mut section = "";
        for line in mine.manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            }
            // What only tests need may come from anywhere.
            let counts = section.contains("dependencies") && !section.contains("dev-dependencies");
            let named = line.split(['.', '=', ' ']).next().unwrap_or_default();
            let Some(theirs) = packages.iter().find(|other| counts && other.name == named) else { continue };
            edges += 1;
            if theirs.floor >= mine.floor {
                breaches.push(format!("{} depends on {named}, which does not lie below it", mine.folder));
            }
        }
    }
    assert!(edges > 8, "only {edges} dependencies were found");
    none(breaches);
}

#[test]
fn every_file_opens_by_saying_what_it_is_for() {
    none(sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect());
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    let limit = |path: &str| LONG.iter().find(|(long, _)| *long == path).map_or(LONGEST, |(_, lines)| *lines);
    let too_long = |(path, text): (String, String)| {
        let lines = text.lines().count();
        (lines > limit(&path)).then(|| format!("{path} has {lines} lines"))
    };
    none(sources().into_iter().filter_map(too_long).collect());
}

/// `CamelCase` and `snake_case` as words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        if character == '_' || character.is_uppercase() {
            words.push(String::new());
        }
        if character != '_' {
            words.last_mut().expect("there is one").extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Names of modules, types and functions that a line of code declares.
fn declared(line: &str) -> Vec<String> {
    if line.trim_start().starts_with("//") {
        return Vec::new();
    }
    let tokens: Vec<&str> =
        line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|token| !token.is_empty()).collect();
    let declares = ["mod", "struct", "enum", "trait", "fn", "type"];
    let pairs = tokens.windows(2).filter(|pair| declares.contains(&pair[0]));
    pairs.map(|pair| pair[1].to_owned()).collect()
}

#[test]
fn names_say_something() {
    let mut breaches = Vec::new();
    for (path, text) in sources() {
        let file = Path::new(&path).file_stem().expect("a file").to_string_lossy().into_owned();
        for name in text.lines().flat_map(declared).chain([file]) {
            let is_banned = words(&name).iter().any(|word| BANNED.contains(&word.as_str()))
                || BANNED_ALONE.contains(&name.to_lowercase().as_str());
            // A test's name is a sentence, and a sentence may use any word.
            let is_given = name == CPU || GIVEN.contains(&(path.as_str(), name.as_str()));
            if is_banned && !is_given && name.split('_').count() <= 4 {
                breaches.push(format!("{path}: {name}"));
            }
        }
    }
    none(breaches);
}

/// `AB-123` wherever it stands in quotes.
fn codes(text: &str) -> BTreeSet<String> {
    let is_code = |at: &[u8]| {
        at[0] == b'"'
            && at[1..3].iter().all(u8::is_ascii_uppercase)
            && at[3] == b'-'
            && at[4..7].iter().all(u8::is_ascii_digit)
            && at[7] == b'"'
    };
    let found = text.as_bytes().windows(8).filter(|window| is_code(window));
    found.map(|code| String::from_utf8_lossy(&code[1..7]).into_owned()).collect()
}

#[test]
fn every_error_code_has_its_page_and_every_page_its_code() {
    let shipped = sources().into_iter().filter(|(path, _)| path.starts_with("crates/") && !path.contains("/tests/"));
    let mut made: BTreeSet<String> = shipped.flat_map(|(_, text)| codes(&text)).collect();
    made.retain(|code| !code.starts_with(TEST_CODES));
    assert!(made.len() > 60, "only {} codes were found", made.len());
    let of_page = |path: &str| Some(path.strip_prefix("docs/errors/")?.strip_suffix(".md")?.to_owned());
    let pages: Vec<_> =
        files(&[".md"]).into_iter().filter_map(|(path, text)| of_page(&path).map(|code| (code, text))).collect();
    let named: BTreeSet<String> = pages.iter().map(|(code, _)| code.clone()).collect();
    none(made.difference(&named).map(|code| format!("{code} has no page")).collect());
    none(named.difference(&made).map(|code| format!("{code} has a page, but nothing makes it")).collect());
    let headings = ["## What happened", "## Why", "## What to do"];
    let is_whole = |(code, text): &&(String, String)| {
        let found: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        text.starts_with(&format!("# {code}: ")) && found == headings
    };
    none(pages.iter().filter(|page| !is_whole(page)).map(|(code, _)| format!("{code}: other headings")).collect());
}

/// The targets of inline links outside of code.
fn links(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second piece between backticks is code; a link's own text may be code too.
        let prose: String =
            line.split('`').enumerate().map(|(at, piece)| if at % 2 == 0 { piece } else { "" }).collect();
        found.extend(prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned));
    }
    found
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let (mut seen, mut breaches) = (0, Vec::new());
    for (path, text) in files(&[".md"]) {
        for link in links(&text) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let from = Path::new(&path).parent().expect("a folder");
            if !root().join(from).join(target).exists() {
                breaches.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(seen > 10, "only {seen} links were found");
    none(breaches);
}

/// Whether a piece of code in a document is the name of a test: a sentence of five words or more.
fn is_sentence(piece: &str) -> bool {
    let of_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    piece.matches('_').count() >= 4 && piece.chars().all(of_names)
}

#[test]
fn every_test_that_a_specification_names_is_there() {
    let specs = files(&[".md"]).into_iter().filter(|(path, _)| path.starts_with("docs/specs/"));
    let sources = sources();
    let (mut named, mut breaches) = (0, Vec::new());
    for (path, text) in specs {
        for (_, name) in text.split('`').enumerate().filter(|(at, piece)| at % 2 == 1 && is_sentence(piece)) {
            named += 1;
            if !sources.iter().any(|(_, text)| text.contains(&format!("fn {name}("))) {
                breaches.push(format!("{path}: there is no test {name}"));
            }
        }
    }
    assert!(named > 40, "only {named} tests are named");
    none(breaches);
}

#[test]
fn no_text_names_a_machine_or_a_registry() {
    // In pieces, so that this file does not name them itself.
    let words = ["/ho|me/", "/ro|ot/", "/wo|rk/", "/Us|ers/", "registry.np|mjs", "index.crates|.io", "artifact|ory"];
    let words: Vec<String> = words.iter().map(|word| word.replace('|', "")).collect();
    let mut breaches = Vec::new();
    for (path, text) in files(&[".rs", ".md", ".toml", ".yaml", ".sql", ".py"]) {
        let found = words.iter().filter(|word| text.contains(word.as_str()));
        breaches.extend(found.map(|word| format!("{path} contains {word}")));
    }
    none(breaches);
}

/// The text without what a crate names off for all of itself with a reason; each line stays where it is.
fn without_reasoned(text: &str, silenced: &str) -> String {
    let mut rest = String::new();
    for (at, piece) in text.split("#![").enumerate() {
        match piece.split_once(")]") {
            Some((of_crate, after)) if of_crate.starts_with(silenced) && of_crate.contains("reason = ") => {
                rest += &"\n".repeat(of_crate.matches('\n').count());
                rest += after;
            }
            _ if at == 0 => rest += piece,
            _ => rest += &format!("#![{piece}"),
        }
    }
    rest
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    let silenced = ["all", "ow("].concat();
    let is_attribute = |line: &str| line.trim_start().starts_with('#') && line.contains(&silenced);
    let mut breaches = Vec::new();
    for (path, text) in sources() {
        let text = without_reasoned(&text, &silenced);
        let lines = text.lines().enumerate().filter(|(_, line)| is_attribute(line));
        breaches.extend(lines.map(|(at, _)| format!("{path}:{}: use `expect` with a reason", at + 1)));
    }
    none(breaches);
}

#[test]
fn the_rules_find_what_they_look_for() {
    assert_eq!(words("FileManager"), ["file", "manager"]);
    assert_eq!(words("read_util"), ["read", "util"]);
    assert_eq!(declared("pub(crate) fn read_all(x: u8) {"), ["read_all"]);
    assert_eq!(declared("// fn of no one"), [""; 0]);
    let silenced = "a\n#![off(x)]\n#![off(\ny, reason = \"z\")]\n#[off(z)]";
    assert_eq!(without_reasoned(silenced, "off("), "a\n#![off(x)]\n\n\n#[off(z)]");
    assert_eq!(
        codes("\"PG-001\", PG-002, \"PG-0034\", \"EN-016\"."),
        BTreeSet::from(["EN-016".into(), "PG-001".into()])
    );
    assert_eq!(links("[a](b.md#c) `[x](y)`\n```\n[n](o)\n```"), ["b.md#c"]);
    assert!(
        is_sentence("a_slot_that_lost_its_log") && !is_sentence("max_slot_wal_keep_size_x(") && !is_sentence("a_b")
    );
}
