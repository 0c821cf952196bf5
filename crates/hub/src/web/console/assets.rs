//! The console's own files, in the binary. An address holds its file's hash, so a browser may keep it for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256, Sha384};

use super::guard;

include!(concat!(env!("OUT_DIR"), "/fetched.rs"));

const STYLE: &[u8] = include_bytes!("../../../assets/console.css");
const SCRIPT: &[u8] = include_bytes!("../../../assets/console.js");
const ICON: &[u8] = include_bytes!("../../../assets/icon.svg");

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: Vec<u8>,
    hash: String,
}

/// A file as a page names it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) address: String,
    /// For the browser to check.
    pub(crate) integrity: String,
}

/// The files that every page loads.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) style: Link,
    pub(crate) script: Link,
    pub(crate) icon: Link,
    /// Absent in a binary that was built without it.
    pub(crate) htmx: Option<Link>,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let mut all: Vec<Asset> = FETCHED.iter().map(|(name, bytes)| made(name, bytes.to_vec())).collect();
    let mut style = String::from_utf8_lossy(STYLE).into_owned();
    // The style names its fonts by their file; here they get their address.
    for font in &all {
        style = style.replace(&format!("url(\"{}\")", font.name), &format!("url(\"{}\")", address(font)));
    }
    all.push(made("console.css", style.into_bytes()));
    all.push(made("console.js", SCRIPT.to_vec()));
    all.push(made("icon.svg", ICON.to_vec()));
    all
});

static LINKED: LazyLock<Linked> = LazyLock::new(|| Linked {
    style: link("console.css").unwrap_or_else(nowhere),
    script: link("console.js").unwrap_or_else(nowhere),
    icon: link("icon.svg").unwrap_or_else(nowhere),
    htmx: link("htmx.js"),
});

fn made(name: &'static str, bytes: Vec<u8>) -> Asset {
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    };
    let hash = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Asset { name, kind, bytes, hash }
}

fn address(asset: &Asset) -> String {
    format!("/assets/{}/{}", asset.hash, asset.name)
}

fn link(name: &str) -> Option<Link> {
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    let integrity = format!("sha384-{}", BASE64.encode(Sha384::digest(&asset.bytes)));
    Some(Link { address: address(asset), integrity })
}

fn nowhere() -> Link {
    Link { address: String::new(), integrity: String::new() }
}

/// The files that every page loads.
pub(crate) fn linked() -> &'static Linked {
    &LINKED
}

/// Answers with a file.
pub(crate) async fn asset(Path((hash, name)): Path<(String, String)>) -> Response {
    let found = ASSETS.iter().find(|asset| asset.name == name && asset.hash == hash);
    let Some(found) = found else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = found.bytes.as_slice().into_response();
    let headers = response.headers_mut();
    guard::put(headers, false);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(found.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
