//! Times as services write them.

use millrace_model::Timestamp;

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;

/// `20150830T123600Z`, as signatures want it.
pub(crate) fn compact(time: Timestamp) -> String {
    let text = time.to_string();
    let whole = text.split('.').next().unwrap_or_default();
    let digits: String = whole.chars().filter(|character| !matches!(character, '-' | ':')).collect();
    digits + "Z"
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, "Date/Time Formats": the form that servers must send).
pub fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, clock) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Timestamp::parse(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

/// A moment as a service writes it: RFC 3339, in UTC or with an offset.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    if text.ends_with('Z') {
        return Timestamp::parse(text);
    }
    let at = text.len().checked_sub(6)?;
    let (local, offset) = (text.get(..at)?, text.get(at..)?);
    let sign = match offset.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
    Some(Timestamp(Timestamp::parse(&format!("{local}Z"))?.0 - sign * seconds * SECOND))
}

/// So many seconds later.
pub(crate) fn after(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp(time.0.saturating_add(seconds.saturating_mul(SECOND)))
}

/// Seconds from one to the other, rounded down.
pub(crate) fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    (to.0 - from.0).div_euclid(SECOND)
}

/// Seconds since 1970, as JSON Web Tokens count.
pub(crate) fn unix(time: Timestamp) -> i64 {
    time.0.div_euclid(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_services_do() {
        let time = Timestamp::parse("2015-08-30T12:36:00Z").unwrap();
        assert_eq!(compact(time), "20150830T123600Z");
        assert_eq!(http_date("Sun, 30 Aug 2015 12:36:00 GMT"), Some(time));
        assert_eq!(http_date("yesterday"), None);
        assert_eq!(moment("2015-08-30T14:36:00+02:00"), Some(time));
        assert_eq!(moment("2015-08-30T12:36:00Z"), Some(time));
        assert_eq!(moment("x"), None);
    }
}
