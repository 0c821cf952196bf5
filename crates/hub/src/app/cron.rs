//! Times that come again, as cron writes them, in UTC: minute, hour, day of month, month, day of week.
//!
//! `*`, numbers, names of months and days, ranges, lists and steps. As everywhere, where both days are given, either of them will do.

use millrace_model::Timestamp;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60;
/// 29 February comes again within eight years, also across a year without one.
const FARTHEST: i64 = 8 * 366;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Which minutes: of each field a bit for each number that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of day are given: either will do.
    is_either: bool,
}

impl Cron {
    /// Reads five fields; what is wrong with them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err("must have five fields: minute, hour, day of month, month, day of week".into());
        };
        let weekdays = field(weekday, (0, 7), "day of week", &DAYS, 0)?;
        let cron = Self {
            minutes: field(minute, (0, 59), "minute", &[], 0)?,
            hours: field(hour, (0, 23), "hour", &[], 0)?,
            days: field(day, (1, 31), "day of month", &[], 0)?,
            months: field(month, (1, 12), "month", &MONTHS, 1)?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            is_either: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        if cron.after(Timestamp(0)).is_none() {
            return Err("names a day that never comes, like 30 February".into());
        }
        Ok(cron)
    }

    /// The first such minute after `at`.
    pub(crate) fn after(&self, at: Timestamp) -> Option<Timestamp> {
        let first = at.0.div_euclid(MINUTE) + 1;
        let (today, now) = (first.div_euclid(DAY), first.rem_euclid(DAY));
        (0..FARTHEST).find_map(|ahead| {
            let from = if ahead == 0 { now } else { 0 };
            let minute = self.is_on(today + ahead).then(|| (from..DAY).find(|minute| self.is_at(*minute))).flatten()?;
            Some(Timestamp(((today + ahead) * DAY + minute) * MINUTE))
        })
    }

    /// The last such minute that is not after `until`. Looked for in ever longer spans, so that it is near wherever it is.
    pub(crate) fn last(&self, until: Timestamp) -> Option<Timestamp> {
        let spans = [60, DAY, 7 * DAY, 32 * DAY, 366 * DAY, FARTHEST * DAY];
        let first =
            spans.iter().find_map(|span| self.after(Timestamp(until.0 - span * MINUTE)).filter(|at| *at <= until))?;
        std::iter::successors(Some(first), |at| self.after(*at)).take_while(|at| *at <= until).last()
    }

    fn is_at(&self, minute: i64) -> bool {
        has(self.hours, minute / 60) && has(self.minutes, minute % 60)
    }

    fn is_on(&self, day: i64) -> bool {
        let (date, _) = Timestamp(day * DAY * MINUTE).date_and_hour();
        let part = |from: usize, to: usize| date.get(from..to).and_then(|text| text.parse().ok()).unwrap_or_default();
        // 1 January 1970 was a Thursday.
        let (of_month, of_week) = (has(self.days, part(8, 10)), has(self.weekdays, (day + 4).rem_euclid(7)));
        has(self.months, part(5, 7)) && if self.is_either { of_month || of_week } else { of_month && of_week }
    }
}

fn has(bits: u64, number: i64) -> bool {
    bits >> number & 1 == 1
}

fn field(text: &str, (least, most): (u32, u32), name: &str, names: &[&str], first: u32) -> Result<u64, String> {
    let wrong = |part: &str| format!("has no {name} `{part}`: numbers from {least} to {most}, like 1,5 or 1-5 or */15");
    let number = |word: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(word)).map(|at| at as u32 + first);
        let digits = word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit());
        let number = named.or_else(|| word.parse().ok().filter(|_| digits));
        number.filter(|number| (least..=most).contains(number))
    };
    let mut bits = 0u64;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let is_stepped = step.is_some();
        let step = match step {
            Some(step) => {
                step.parse::<u32>().ok().filter(|step| (1..=most).contains(step)).ok_or_else(|| wrong(part))?
            }
            None => 1,
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (least, if most == 7 { 6 } else { most }),
            (_, Some((from, to))) => (number(from).ok_or_else(|| wrong(part))?, number(to).ok_or_else(|| wrong(part))?),
            (one, None) => {
                let one = number(one).ok_or_else(|| wrong(part))?;
                (one, if is_stepped { most } else { one })
            }
        };
        if from > to {
            return Err(wrong(part));
        }
        (from..=to).step_by(step as usize).for_each(|number| bits |= 1 << number);
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(cron: &str, at: &str) -> String {
        let at = Timestamp::parse(at).unwrap();
        Cron::parse(cron).unwrap().after(at).unwrap().to_string().replace(":00.000Z", "")
    }

    #[test]
    fn the_next_time_is_the_first_minute_that_every_field_allows() {
        // 24 November 2026 is a Tuesday.
        let at = "2026-11-24T12:30:00.000Z";
        for (cron, expected) in [
            ("* * * * *", "2026-11-24T12:31"),
            ("30 12 * * *", "2026-11-25T12:30"),
            ("31 12 * * *", "2026-11-24T12:31"),
            ("*/20 * * * *", "2026-11-24T12:40"),
            ("0 6 * * 1-5", "2026-11-25T06:00"),
            ("0 6 * * sat,sun", "2026-11-28T06:00"),
            ("0 6 * * 7", "2026-11-29T06:00"),
            ("0 6 * * 0", "2026-11-29T06:00"),
            ("5/10 8-9 * * *", "2026-11-25T08:05"),
            ("0 0 1 JAN *", "2027-01-01T00:00"),
            ("0 0 29 2 *", "2028-02-29T00:00"),
            ("0 0 31 * *", "2026-12-31T00:00"),
            // Either the 1st or a Friday.
            ("0 0 1 * fri", "2026-11-27T00:00"),
            ("0 0 1 * *", "2026-12-01T00:00"),
            ("59 23 31 12 *", "2026-12-31T23:59"),
        ] {
            assert_eq!(next(cron, at), expected, "{cron}");
        }
        assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00.000Z"), "2104-02-29T00:00");
        assert_eq!(next("0 0 * * *", "2026-12-31T23:59:59.999Z"), "2027-01-01T00:00");
    }

    #[test]
    fn the_last_time_is_found_however_far_back_it_lies() {
        let at = Timestamp::parse("2026-11-24T12:30:00.000Z").unwrap();
        for (cron, expected) in [
            ("* * * * *", "2026-11-24T12:30"),
            ("31 * * * *", "2026-11-24T11:31"),
            ("0 20 * * *", "2026-11-23T20:00"),
            ("0 6 * * fri", "2026-11-20T06:00"),
            ("0 0 25 12 *", "2025-12-25T00:00"),
            ("0 0 29 2 *", "2024-02-29T00:00"),
        ] {
            let last = Cron::parse(cron).unwrap().last(at).unwrap().to_string();
            assert!(last.starts_with(expected), "{cron} {last}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_in_words() {
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "1, * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "1-2-3 * * * *",
            "* * * * montag",
            "0 0 30 2 *",
            "0 0 31 4,6 *",
            "*/61 * * * *",
            "1//2 * * * *",
        ] {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
    }
}
