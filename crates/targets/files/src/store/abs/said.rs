//! What Azure Blob Storage says: its XML, and what its statuses and codes mean.

use millrace_identity::http_date;
use roxmltree::{Document, Node};

use crate::store::objects::answer::in_a_line;
use crate::store::objects::http::Reply;
use crate::store::objects::{Answer, Object, Page};

/// What a reply that is no success means.
pub(super) fn answer(reply: &Reply) -> Answer {
    let text = std::str::from_utf8(&reply.body).unwrap_or_default();
    let document = Document::parse(text).ok();
    let root = document.as_ref().map(Document::root_element);
    let part = |name: &str| root.and_then(|root| child(root, name)).unwrap_or_default();
    // Where a reply has no body, the header has the code all the same.
    let code = reply.header("x-ms-error-code").unwrap_or_else(|| part("Code"));
    let said = in_a_line(&format!("{} {code} {}", reply.status, part("Message")));
    match (reply.status, code) {
        (_, "BlobAlreadyExists" | "ConditionNotMet" | "TargetConditionNotMet") => Answer::Taken,
        (_, "ContainerNotFound") => Answer::NoBucket,
        (_, "ServerBusy" | "OperationTimedOut" | "InternalError") | (408 | 429 | 500 | 502..=599, _) => {
            Answer::Later(said)
        }
        (412, _) => Answer::Taken,
        (404, _) => Answer::Missing,
        (409, _) => Answer::Conflict,
        (_, "AuthenticationFailed" | "KeyBasedAuthenticationNotPermitted" | "InvalidAuthenticationInfo") | (401, _) => {
            Answer::Unknown(said)
        }
        // The emulator has but one code for what Azure tells apart.
        (403, _) if said.contains("failed to authenticate") => Answer::Unknown(said),
        (403, _) => Answer::Denied { permission: None, said },
        _ => Answer::Refused(said),
    }
}

/// Whether the proof was not believed: for the key, the token or the time.
pub(super) fn is_about_proof(reply: &Reply) -> bool {
    matches!(reply.status, 401 | 403) && matches!(answer(reply), Answer::Unknown(_))
}

fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children().find(|child| child.tag_name().name() == name)?.text()
}

fn below<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    node.children().find(|child| child.tag_name().name() == name)
}

/// Of `List Blobs`.
pub(super) fn page(body: &[u8]) -> Result<Page, Answer> {
    let text = std::str::from_utf8(body).map_err(|error| Answer::Refused(format!("an answer is no text: {error}")))?;
    let document = Document::parse(text).map_err(|error| Answer::Refused(format!("an answer is no XML: {error}")))?;
    let root = document.root_element();
    let mut page = Page { next: child(root, "NextMarker").map(str::to_owned), ..Page::default() };
    for node in below(root, "Blobs").into_iter().flat_map(|blobs| blobs.children()) {
        match node.tag_name().name() {
            "Blob" => page.objects.push(object(node)?),
            "BlobPrefix" => page.folders.extend(child(node, "Name").map(str::to_owned)),
            _ => {}
        }
    }
    Ok(page)
}

fn object(node: Node<'_, '_>) -> Result<Object, Answer> {
    let properties = below(node, "Properties");
    let property = |name: &str| properties.and_then(|properties| child(properties, name));
    let bytes = property("Content-Length").and_then(|length| length.parse().ok());
    let modified = property("Last-Modified").and_then(http_date);
    match (child(node, "Name"), bytes, modified) {
        (Some(key), Some(bytes), Some(modified)) => Ok(Object { key: key.to_owned(), bytes, modified }),
        _ => Err(Answer::Refused("a listing lacks name, size or time of a blob".into())),
    }
}

/// For `Put Block List`.
pub(super) fn block_list(ids: &[String]) -> String {
    let blocks = ids.iter().fold(String::new(), |blocks, id| blocks + "<Latest>" + id + "</Latest>");
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{blocks}</BlockList>")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn a_code_in_a_header_counts_as_one_in_the_body() {
        let mut reply = Reply { status: 404, headers: HeaderMap::new(), body: Bytes::new() };
        assert_eq!(answer(&reply), Answer::Missing);
        reply.headers.insert("x-ms-error-code", "ContainerNotFound".parse().unwrap());
        assert_eq!(answer(&reply), Answer::NoBucket);
        let body = "<?xml version=\"1.0\"?><Error><Code>BlobAlreadyExists</Code><Message>m</Message></Error>";
        let reply = Reply { status: 409, headers: HeaderMap::new(), body: Bytes::from(body) };
        assert_eq!(answer(&reply), Answer::Taken);
    }

    #[test]
    fn a_listing_has_blobs_folders_and_a_next_page() {
        let page = page(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs><Blob><Name>a/one</Name><Properties>\
             <Last-Modified>Fri, 24 May 2013 00:00:00 GMT</Last-Modified><Content-Length>5</Content-Length></Properties></Blob>\
             <BlobPrefix><Name>a/b/</Name></BlobPrefix></Blobs><NextMarker>m</NextMarker></EnumerationResults>"
                .as_bytes(),
        )
        .unwrap();
        assert_eq!((page.objects[0].key.as_str(), page.objects[0].bytes), ("a/one", 5));
        assert_eq!((page.folders, page.next), (vec!["a/b/".to_owned()], Some("m".to_owned())));
    }
}
