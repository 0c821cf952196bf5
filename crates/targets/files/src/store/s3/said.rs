//! What S3 says: its XML, and what its statuses and codes mean.

use millrace_model::Timestamp;
use roxmltree::{Document, Node};

use crate::store::objects::answer::in_a_line;
use crate::store::objects::http::Reply;
use crate::store::objects::{Answer, Object, Page, Unfinished};

/// Code and message of an error.
#[derive(Debug, Default)]
struct Error {
    code: String,
    message: String,
}

/// What a reply that is no success means.
pub(super) fn answer(reply: &Reply) -> Answer {
    let Error { code, message } = error(&reply.body).unwrap_or_default();
    let said = in_a_line(&format!("{} {code} {message}", reply.status));
    match (reply.status, code.as_str()) {
        (_, "NoSuchBucket") => Answer::NoBucket,
        (_, "PreconditionFailed") | (412, _) => Answer::Taken,
        (_, "RequestTimeTooSkewed" | "RequestTimeout" | "SlowDown") | (408 | 429 | 500 | 502..=599, _) => {
            Answer::Later(said)
        }
        (409, _) => Answer::Conflict,
        (404, _) => Answer::Missing,
        (
            _,
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired",
        )
        | (401, _) => Answer::Unknown(said),
        (301 | 307, _) | (_, "AuthorizationHeaderMalformed") => Answer::Refused(match region(reply) {
            Some(region) => format!("the bucket lies in the region {region}; write `region: {region}`"),
            None => format!("{said}; see that `region` and `endpoint` are those of the bucket"),
        }),
        (403, _) => Answer::Denied { permission: named(&message), said },
        _ => Answer::Refused(said),
    }
}

/// The size of the whole object, of a reply to a request for it or for its first byte: `Content-Range: bytes 0-0/42`. Only an
/// empty one has no first byte.
pub(super) fn whole_size(reply: &Reply) -> Option<u64> {
    match reply.status {
        416 => Some(0),
        206 => reply.header("content-range")?.rsplit_once('/')?.1.parse().ok(),
        200 => reply.header("content-length")?.parse().ok(),
        _ => None,
    }
}

/// The bucket's region, where the reply says it.
fn region(reply: &Reply) -> Option<String> {
    if let Some(region) = reply.header("x-amz-bucket-region") {
        return Some(region.to_owned());
    }
    let text = std::str::from_utf8(&reply.body).ok()?;
    let document = Document::parse(text).ok()?;
    child(document.root_element(), "Region").map(str::to_owned)
}

/// The permission that AWS names: `… is not authorized to perform: s3:PutObject on resource: …`.
fn named(message: &str) -> Option<String> {
    let (_, after) = message.split_once("not authorized to perform: ")?;
    after.split_whitespace().next().map(str::to_owned)
}

fn error(body: &[u8]) -> Option<Error> {
    let document = Document::parse(std::str::from_utf8(body).ok()?).ok()?;
    let root = document.root_element();
    (root.tag_name().name() == "Error").then(|| Error {
        code: child(root, "Code").unwrap_or_default().to_owned(),
        message: child(root, "Message").unwrap_or_default().to_owned(),
    })
}

/// The error that a completion can end with although it began with 200.
pub(super) fn late_error(reply: &Reply) -> Option<Answer> {
    let Error { code, message } = error(&reply.body)?;
    let said = in_a_line(&format!("{code} {message}"));
    Some(match code.as_str() {
        "PreconditionFailed" => Answer::Taken,
        "NoSuchUpload" => Answer::Missing,
        // `InternalError` above all: the manual says to ask again.
        _ => Answer::Later(said),
    })
}

fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children().find(|child| child.tag_name().name() == name)?.text()
}

/// A document that has to be there.
fn parse(body: &[u8]) -> Result<Document<'_>, Answer> {
    let text = std::str::from_utf8(body).map_err(|error| Answer::Refused(format!("an answer is no text: {error}")))?;
    Document::parse(text).map_err(|error| Answer::Refused(format!("an answer is no XML: {error}")))
}

/// Of `ListObjectsV2`.
pub(super) fn page(body: &[u8]) -> Result<Page, Answer> {
    let document = parse(body)?;
    let root = document.root_element();
    let mut page = Page::default();
    for node in root.children() {
        match node.tag_name().name() {
            "Contents" => page.objects.push(object(node)?),
            "CommonPrefixes" => page.folders.extend(child(node, "Prefix").map(str::to_owned)),
            _ => {}
        }
    }
    if child(root, "IsTruncated") == Some("true") {
        page.next = child(root, "NextContinuationToken").map(str::to_owned);
    }
    Ok(page)
}

fn object(node: Node<'_, '_>) -> Result<Object, Answer> {
    let bytes = child(node, "Size").and_then(|size| size.parse().ok());
    let modified = child(node, "LastModified").and_then(Timestamp::parse);
    match (child(node, "Key"), bytes, modified) {
        (Some(key), Some(bytes), Some(modified)) => Ok(Object { key: key.to_owned(), bytes, modified }),
        _ => Err(Answer::Refused("a listing lacks name, size or time of an object".into())),
    }
}

/// Of `CreateMultipartUpload`.
pub(super) fn upload_id(body: &[u8]) -> Result<String, Answer> {
    let document = parse(body)?;
    let id = child(document.root_element(), "UploadId").map(str::to_owned);
    id.ok_or_else(|| Answer::Refused("an upload that was begun has no id".into()))
}

/// Key and id after which a page of `ListMultipartUploads` begins.
pub(super) type Marker = (String, String);

/// Of `ListMultipartUploads`: the uploads, and where the next page begins.
pub(super) fn uploads(body: &[u8]) -> Result<(Vec<Unfinished>, Option<Marker>), Answer> {
    let document = parse(body)?;
    let root = document.root_element();
    let uploads = root.children().filter(|node| node.tag_name().name() == "Upload");
    let uploads = uploads
        .filter_map(|node| {
            Some(Unfinished { key: child(node, "Key")?.to_owned(), upload: child(node, "UploadId")?.to_owned() })
        })
        .collect();
    let more = child(root, "IsTruncated") == Some("true");
    let next = || Some((child(root, "NextKeyMarker")?.to_owned(), child(root, "NextUploadIdMarker")?.to_owned()));
    Ok((uploads, if more { next() } else { None }))
}

/// For `CompleteMultipartUpload`.
pub(super) fn completion(tags: &[String]) -> String {
    let mut parts = String::new();
    for (at, tag) in tags.iter().enumerate() {
        let tag = tag.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        parts += &format!("<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>", at + 1);
    }
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</CompleteMultipartUpload>"
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    use super::*;

    fn reply(status: u16, code: &str, message: &str) -> Answer {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
        answer(&Reply { status, headers: HeaderMap::new(), body: Bytes::from(body) })
    }

    #[test]
    fn a_no_is_told_from_a_not_now() {
        assert_eq!(reply(412, "PreconditionFailed", ""), Answer::Taken);
        assert_eq!(reply(409, "ConditionalRequestConflict", ""), Answer::Conflict);
        assert_eq!(reply(404, "NoSuchBucket", ""), Answer::NoBucket);
        assert_eq!(reply(404, "NoSuchKey", ""), Answer::Missing);
        for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (429, ""), (400, "RequestTimeout")] {
            assert!(reply(status, code, "").is_later(), "{status} {code}");
        }
        assert!(matches!(reply(403, "SignatureDoesNotMatch", ""), Answer::Unknown(_)));
        assert!(matches!(reply(400, "InvalidArgument", ""), Answer::Refused(_)));
    }

    #[test]
    fn a_permission_that_aws_names_is_named() {
        let message = "User: arn:aws:iam::1:user/u is not authorized to perform: s3:ListBucket on resource: \
                       &quot;arn:aws:s3:::lake&quot; because no identity-based policy allows the s3:ListBucket action";
        let Answer::Denied { permission, .. } = reply(403, "AccessDenied", message) else { panic!("not denied") };
        assert_eq!(permission.as_deref(), Some("s3:ListBucket"));
    }

    #[test]
    fn a_listing_has_objects_folders_and_a_next_page() {
        let page = page(
            b"<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>true</IsTruncated>\
              <Contents><Key>a/one&amp;%5F</Key><Size>5</Size><LastModified>2026-11-22T14:03:07.000Z</LastModified></Contents>\
              <CommonPrefixes><Prefix>a/b/</Prefix></CommonPrefixes>\
              <NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
        )
        .unwrap();
        assert_eq!((page.objects[0].key.as_str(), page.objects[0].bytes), ("a/one&%5F", 5));
        assert_eq!((page.folders, page.next), (vec!["a/b/".to_owned()], Some("t".to_owned())));
    }
}
