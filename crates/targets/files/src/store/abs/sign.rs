//! Shared Key: proves with a storage account's key who asks. Pure.
//!
//! As <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key> says.

use millrace_model::Timestamp;
use millrace_model::time::civil_from_days;
use ring::hmac;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What is signed.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Encoded, as it is sent.
    pub(super) path: &'a str,
    /// Names and values, not encoded yet.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Bytes of the body.
    pub(super) length: usize,
}

/// The signature of a request with these headers, whose names are in lower case.
pub(super) fn sign(request: &Request<'_>, account: &str, key: &[u8], headers: &[(String, String)]) -> Vec<u8> {
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str());
    let length = if request.length == 0 { String::new() } else { request.length.to_string() };
    let mut text = format!("{}\n", request.method);
    // Content-Encoding, -Language, -Length, -MD5, -Type, Date, and five conditions, of which one is used.
    for line in ["", "", &length, "", header("content-type"), "", "", "", header("if-none-match"), "", ""] {
        text += line;
        text.push('\n');
    }
    let mut own: Vec<&(String, String)> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort_unstable();
    for (name, value) in own {
        text += &format!("{name}:{value}\n");
    }
    text += &format!("/{account}{}", request.path);
    let mut query = request.query.to_vec();
    query.sort_unstable();
    for (name, value) in query {
        text += &format!("\n{name}:{value}");
    }
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// `Fri, 24 May 2013 00:00:00 GMT`.
pub(super) fn http_date(at: Timestamp) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // 1970 began on a Thursday.
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, micros) = (at.0.div_euclid(MICROS_PER_DAY), at.0.rem_euclid(MICROS_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    let weekday = DAYS.get(days.rem_euclid(7) as usize).unwrap_or(&"");
    let month = MONTHS.get(month as usize - 1).unwrap_or(&"");
    let seconds = micros / 1_000_000;
    format!("{weekday}, {day:02} {month} {year} {:02}:{:02}:{:02} GMT", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_http_does() {
        assert_eq!(http_date(Timestamp::parse("2013-05-24T00:00:01.500Z").unwrap()), "Fri, 24 May 2013 00:00:01 GMT");
        assert_eq!(http_date(Timestamp(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
