//! Wall-clock time in microseconds, the proleptic Gregorian calendar, and RFC 3339 text.
//!
//! Why not a calendar crate: the decoders need exactly these two conversions, on the hot path and over the whole range of
//! the databases (4713 BC to 294276 AD), which the calendar crates cut off.

use std::fmt;

/// Microseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Microseconds in a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

impl Timestamp {
    /// Date and hour in UTC as `2026-11-22` and `14`, as file paths need them.
    pub fn date_and_hour(self) -> (String, String) {
        let (days, micros) = (self.0.div_euclid(MICROS_PER_DAY), self.0.rem_euclid(MICROS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        (format!("{year:04}-{month:02}-{day:02}"), format!("{:02}", micros / (3600 * MICROS_PER_SECOND)))
    }

    /// The start of the UTC hour that this moment lies in.
    #[must_use]
    pub fn hour_start(self) -> Self {
        const HOUR: i64 = 3600 * MICROS_PER_SECOND;
        Self(self.0.div_euclid(HOUR) * HOUR)
    }

    /// Parses what `Display` writes (RFC 3339 with `Z`).
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z')?;
        let (date, clock) = text.split_once('T')?;
        let mut parts = date.splitn(3, '-');
        let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
        let mut clock = clock.splitn(3, ':');
        let (hour, minute, second) = (clock.next()?, clock.next()?, clock.next()?);
        let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
        let mut micros = 0i64;
        for digit in 0..6 {
            let value =
                fraction.as_bytes().get(digit).map_or(Some(0), |b| b.is_ascii_digit().then(|| i64::from(b - b'0')))?;
            micros = micros * 10 + value;
        }
        let whole = |text: &str, most: u32| text.parse::<u32>().ok().filter(|number| *number <= most);
        let year = y.parse::<i64>().ok().filter(|year| (-290_000..=290_000).contains(year))?;
        let days = days_from_civil(year, whole(m, 12)?, whole(d, 31)?);
        let seconds = whole(hour, 24)? * 3600 + whole(minute, 60)? * 60 + whole(second, 60)?;
        Some(Self(days * MICROS_PER_DAY + i64::from(seconds) * MICROS_PER_SECOND + micros))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, milliseconds or, where there are any, microseconds: `2026-11-22T14:03:07.412Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, micros) = (self.0.div_euclid(MICROS_PER_DAY), self.0.rem_euclid(MICROS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.")?;
        if fraction % 1000 == 0 { write!(f, "{:03}Z", fraction / 1000) } else { write!(f, "{fraction:06}Z") }
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (year 0 is 1 BC).
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date (year, month, day) of a number of days since 1970-01-01; the inverse of [`days_from_civil`].
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_the_range_of_the_databases() {
        for days in (-2_500_000..107_000_000).step_by(9_973) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(days_from_civil(2000, 1, 1), 10_957);
    }

    #[test]
    fn a_timestamp_reads_what_it_wrote() {
        let moment = Timestamp(1_795_356_187_412_000);
        assert_eq!(moment.to_string(), "2026-11-22T14:03:07.412Z");
        assert_eq!(Timestamp::parse("2026-11-22T14:03:07.412Z"), Some(moment));
        assert_eq!(Timestamp::parse("2026-11-22T14:03:07.412001Z"), Some(Timestamp(moment.0 + 1)));
        for none in
            ["2026-11-22T999999999999999999:03:07Z", "99999999999999-11-22T14:03:07Z", "2026-4000000000-22T14:03:07Z"]
        {
            assert_eq!(Timestamp::parse(none), None, "{none}");
        }
        assert_eq!(moment.date_and_hour(), ("2026-11-22".into(), "14".into()));
    }
}
