//! Dates and times: from the server's ISO text, and to it where a value must be kept as text.
//!
//! Times of the wire's binary form count from 2000, those of the lake from 1970; a moment that only the former can hold
//! has no number here and goes into `exact`.

use millrace_model::time::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil};

use crate::position::EPOCH_MICROS;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;

/// Days since 1970 of a binary date; `None` for the infinities.
pub(crate) fn date_from_binary(days: i32) -> Option<i32> {
    if days == i32::MIN || days == i32::MAX { None } else { days.checked_add(EPOCH_DAYS) }
}

/// Microseconds since 1970 of a binary timestamp; `None` for the infinities and what is too far.
pub(crate) fn timestamp_from_binary(micros: i64) -> Option<i64> {
    if micros == i64::MIN || micros == i64::MAX { None } else { micros.checked_add(EPOCH_MICROS) }
}

/// A binary date as the server shows it.
pub(crate) fn date_text(days: i32) -> String {
    match days {
        i32::MIN => "-infinity".into(),
        i32::MAX => "infinity".into(),
        days => {
            let (date, era) = civil_text(i64::from(days) + i64::from(EPOCH_DAYS));
            format!("{date}{era}")
        }
    }
}

/// A binary timestamp as the server shows it in UTC.
pub(crate) fn timestamp_text(micros: i64, zone: &str) -> String {
    match micros {
        i64::MIN => "-infinity".into(),
        i64::MAX => "infinity".into(),
        micros => {
            let (date, era) = civil_text(micros.div_euclid(MICROS_PER_DAY) + i64::from(EPOCH_DAYS));
            format!("{date} {}{zone}{era}", clock_text(micros.rem_euclid(MICROS_PER_DAY)))
        }
    }
}

fn civil_text(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil_from_days(days);
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{shown:04}-{month:02}-{day:02}"), era)
}

/// A time of day as the server shows it.
pub(crate) fn clock_text(micros: i64) -> String {
    let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

/// What a text of a date or a moment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment<T> {
    /// A value of the lake.
    At(T),
    /// Infinite or too far.
    Beyond,
    /// No such text.
    Unreadable,
}

/// Reads `2024-02-29`, `0044-03-15 BC`, `infinity`.
pub(crate) fn date_from_text(text: &[u8]) -> Moment<i32> {
    if is_infinity(text) {
        return Moment::Beyond;
    }
    let (text, before_christ) = strip_era(text);
    let mut cursor = Cursor(text);
    let Some(days) = cursor.date(before_christ).filter(|_| cursor.0.is_empty()) else { return Moment::Unreadable };
    i32::try_from(days).map_or(Moment::Beyond, Moment::At)
}

/// Reads `2024-02-29 12:34:56.789`, with `zone` (`+00` or nothing) and perhaps ` BC` behind it, or an infinity.
pub(crate) fn timestamp_from_text(text: &[u8], zone: &[u8]) -> Moment<i64> {
    if is_infinity(text) {
        return Moment::Beyond;
    }
    let (text, before_christ) = strip_era(text);
    let Some(text) = text.strip_suffix(zone) else { return Moment::Unreadable };
    let mut cursor = Cursor(text);
    let parsed = cursor.date(before_christ).and_then(|days| {
        cursor.expect(b' ')?;
        Some((days, cursor.clock()?))
    });
    let Some((days, clock)) = parsed.filter(|_| cursor.0.is_empty()) else { return Moment::Unreadable };
    days.checked_mul(MICROS_PER_DAY).and_then(|day| day.checked_add(clock)).map_or(Moment::Beyond, Moment::At)
}

/// Reads `12:34:56.789`; the midnight that ends a day, `24:00:00`, is beyond a time of day.
pub(crate) fn time_from_text(text: &[u8]) -> Moment<i64> {
    let mut cursor = Cursor(text);
    match cursor.clock().filter(|_| cursor.0.is_empty()) {
        Some(micros) => time_of_day(micros),
        None => Moment::Unreadable,
    }
}

/// A time of day, if it is less than a day.
pub(crate) fn time_of_day(micros: i64) -> Moment<i64> {
    match micros {
        0..MICROS_PER_DAY => Moment::At(micros),
        MICROS_PER_DAY => Moment::Beyond,
        _ => Moment::Unreadable,
    }
}

fn is_infinity(text: &[u8]) -> bool {
    text == b"infinity" || text == b"-infinity"
}

fn strip_era(text: &[u8]) -> (&[u8], bool) {
    text.strip_suffix(b" BC").map_or((text, false), |text| (text, true))
}

/// Text yet to be read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// Up to eight digits: no year is longer.
    fn number(&mut self) -> Option<u32> {
        let mut value = 0;
        let mut length = 0;
        for &byte in self.0.iter().take(8).take_while(|byte| byte.is_ascii_digit()) {
            value = value * 10 + u32::from(byte - b'0');
            length += 1;
        }
        self.0 = self.0.get(length..)?;
        (length > 0).then_some(value)
    }

    fn date(&mut self, before_christ: bool) -> Option<i64> {
        let year = i64::from(self.number()?);
        self.expect(b'-')?;
        let month = self.number().filter(|month| (1..=12).contains(month))?;
        self.expect(b'-')?;
        let day = self.number().filter(|day| (1..=31).contains(day))?;
        Some(days_from_civil(if before_christ { 1 - year } else { year }, month, day))
    }

    fn clock(&mut self) -> Option<i64> {
        let hour = self.number().filter(|&hour| hour <= 24)?;
        self.expect(b':')?;
        let minute = self.number().filter(|&minute| minute < 60)?;
        self.expect(b':')?;
        let second = self.number().filter(|&second| second < 60)?;
        let micros = i64::from(hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND;
        if self.expect(b'.').is_none() {
            return Some(micros);
        }
        let before = self.0.len();
        let fraction = self.number()?;
        let length = before - self.0.len();
        let missing = 6usize.checked_sub(length)?;
        Some(micros + i64::from(fraction) * 10i64.pow(missing as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_the_same_from_text_and_from_binary() {
        let steps = (0..2000i64).map(|step| -211_813_488_000_000_000 + step * 4_611_686_018_427_391);
        for micros in steps.filter(|&micros| micros < 9_223_371_331_200_000_000) {
            for zone in ["", "+00"] {
                let text = timestamp_text(micros, zone);
                let want = timestamp_from_binary(micros).map_or(Moment::Beyond, Moment::At);
                assert_eq!(timestamp_from_text(text.as_bytes(), zone.as_bytes()), want, "{text}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_calendar_are_read() {
        assert_eq!(date_from_text(b"5874897-12-31"), Moment::At(2_145_042_905));
        assert_eq!(date_from_text(b"4714-11-24 BC"), Moment::At(-2_440_588));
        assert_eq!(date_from_text(b"infinity"), Moment::Beyond);
        assert_eq!(date_from_text(b"2024-13-01"), Moment::Unreadable);
        assert_eq!(timestamp_from_text(b"294276-12-31 23:59:59.999999", b""), Moment::Beyond);
        assert_eq!(timestamp_from_text(b"1970-01-01 00:00:00.5+00", b"+00"), Moment::At(500_000));
        assert_eq!(time_from_text(b"23:59:59.999999"), Moment::At(86_399_999_999));
        assert_eq!(time_from_text(b"24:00:00"), Moment::Beyond);
    }

    #[test]
    fn a_far_moment_is_shown_as_the_server_shows_it() {
        assert_eq!(timestamp_text(9_223_371_331_199_999_999, "+00"), "294276-12-31 23:59:59.999999+00");
        assert_eq!(timestamp_text(i64::MIN, "+00"), "-infinity");
        assert_eq!(date_text(i32::MAX), "infinity");
    }
}
