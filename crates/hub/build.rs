//! Puts what the console has from elsewhere (htmx, fonts) into the binary, where `cargo xtask assets` has fetched it.
//!
//! Without it the build succeeds: the console then works as it does without JavaScript, in the system's fonts. The pages of
//! the documentation go in as they are.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Files in `assets/.fetched`.
const WANTED: [&str; 3] = ["htmx.js", "inter.woff2", "mono.woff2"];

#[expect(clippy::unnecessary_debug_formatting, reason = "a path is written as Rust writes it")]
fn main() {
    let root = env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let out = env::var_os("OUT_DIR").expect("cargo says where to write");
    let folder = Path::new(&root).join("assets").join(".fetched");
    println!("cargo:rerun-if-changed={}", folder.display());
    println!("cargo:rerun-if-changed=templates");
    let mut list = String::new();
    for name in WANTED.iter().filter(|name| folder.join(name).is_file()) {
        list.push_str(&format!("({name:?}, include_bytes!({:?}).as_slice()), ", folder.join(name)));
    }
    if list.is_empty() {
        println!("cargo:warning=the console is built without htmx and fonts; `cargo xtask assets` fetches them");
    }
    let text = format!("/// What was fetched: name and bytes.\nconst FETCHED: &[(&str, &[u8])] = &[{list}];\n");
    fs::write(Path::new(&out).join("fetched.rs"), text).expect("cargo's own folder can be written to");
    let pages = documents(&Path::new(&root).join("../../docs"));
    fs::write(Path::new(&out).join("documents.rs"), pages).expect("cargo's own folder can be written to");
}

/// The pages of the documentation that the hub serves: those for people who use it.
#[expect(clippy::unnecessary_debug_formatting, reason = "a path is written as Rust writes it")]
fn documents(docs: &Path) -> String {
    println!("cargo:rerun-if-changed={}", docs.display());
    let mut list = Vec::new();
    for folder in ["", "errors", "problems", "how-to", "reference", "specs"] {
        for entry in fs::read_dir(docs.join(folder)).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Some(stem) = name.strip_suffix(".md") else { continue };
            let place = if folder.is_empty() { stem.to_owned() } else { format!("{folder}/{stem}") };
            list.push(format!("    ({place:?}, include_str!({path:?})),\n"));
        }
    }
    list.sort();
    format!(
        "/// Pages by their place below `docs/`, in order.\nconst PAGES: &[(&str, &str)] = &[\n{}];\n",
        list.concat()
    )
}
