//! Puts what the console has from elsewhere (htmx, fonts) into the binary, where `cargo xtask assets` has fetched it.
//!
//! Without it the build succeeds: the console then works as it does without JavaScript, in the system's fonts.

use std::path::Path;
use std::{env, fs};

/// Files in `assets/.fetched`.
const WANTED: [&str; 3] = ["htmx.js", "inter.woff2", "mono.woff2"];

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
}
