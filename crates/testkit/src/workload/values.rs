//! Values as SQL literals: ordinary ones mostly, and now and then one at the edge of its type, where readers go wrong.

use super::random::Random;

/// How often a value that may be null is null, and how often one is at the edge of its type: once in so many.
const RARE: u64 = 12;

/// Longer than a page holds after compression, so PostgreSQL stores it outside the row and leaves it out of updates.
const LARGE_TEXT_WORDS: u64 = 700;

const WORDS: [&str; 16] = [
    "amber", "brook", "cedar", "dusk", "ember", "fjord", "grove", "häuser", "изба", "jade", "kelp", "lark", "moss",
    "naïve", "水車", "🌊",
];

const EDGES: [&str; 6] = ["", " ", "it''s", "a\"b\\c", "two\nlines\tand a tab", "NULL"];

fn or_null(random: &mut Random, value: impl FnOnce(&mut Random) -> String) -> String {
    if random.once_in(RARE) { "NULL".into() } else { value(random) }
}

/// A short text.
pub(super) fn text(random: &mut Random) -> String {
    if random.once_in(RARE) {
        return format!("'{}'", random.one_of(&EDGES));
    }
    format!("'{} {}'", random.one_of(&WORDS), random.below(100_000))
}

/// A short text or null.
pub(super) fn text_or_null(random: &mut Random) -> String {
    or_null(random, text)
}

/// A text of some kilobytes that does not compress well.
pub(super) fn large_text(random: &mut Random) -> String {
    let words: Vec<String> =
        (0..LARGE_TEXT_WORDS).map(|_| format!("{}{:x}", random.one_of(&WORDS), random.bits())).collect();
    format!("'{}'", words.join(" "))
}

/// `numeric(10,2)`: not a number and the bounds included.
pub(super) fn amount(random: &mut Random) -> String {
    if random.once_in(RARE * 4) {
        return (*random.one_of(&["'NaN'", "99999999.99", "-99999999.99", "0.00", "-0.01"])).into();
    }
    format!("{}.{:02}", random.below(10_000), random.below(100))
}

/// `boolean` or null.
pub(super) fn flag(random: &mut Random) -> String {
    or_null(random, |random| random.once_in(2).to_string())
}

/// `real` or `double precision`.
pub(super) fn float(random: &mut Random) -> String {
    or_null(random, |random| {
        if random.once_in(RARE) {
            return (*random.one_of(&["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1e-30", "1e30"])).into();
        }
        format!("{}::float8 / {}", random.below(1_000_000), random.below(997) + 1)
    })
}

/// `date`, infinity included.
pub(super) fn date(random: &mut Random) -> String {
    or_null(random, |random| {
        if random.once_in(RARE * 2) {
            return (*random.one_of(&["'infinity'", "'-infinity'", "'0001-01-01'", "'9999-12-31'", "'1970-01-01'"]))
                .into();
        }
        format!("date '1950-01-01' + {}", random.below(25_000))
    })
}

/// `timestamp`, with microseconds, infinity included; cast where a zone is wanted.
pub(super) fn moment(random: &mut Random) -> String {
    if random.once_in(RARE * 2) {
        return (*random.one_of(&["'infinity'", "'-infinity'", "'1969-12-31 23:59:59.999999'", "'2000-01-01'"])).into();
    }
    format!("timestamp '2020-01-01' + interval '{} microseconds'", random.below(250_000_000_000_000))
}

/// `timestamp` or null.
pub(super) fn moment_or_null(random: &mut Random) -> String {
    or_null(random, moment)
}

/// `uuid`.
pub(super) fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.bits(), random.bits());
    format!(
        "'{:08x}-{:04x}-{:04x}-{:04x}-{:012x}'",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// `jsonb` or null; JSON's own null is a value.
pub(super) fn json(random: &mut Random) -> String {
    or_null(random, |random| match random.below(6) {
        0 => "'null'".into(),
        1 => "'[]'".into(),
        2 => format!("'[1, 2.50, {{\"deep\": [{}]}}]'", random.below(1000)),
        _ => format!("'{{\"word\": \"{}\", \"n\": {}, \"half\": 0.50}}'", random.one_of(&WORDS), random.below(1000)),
    })
}

/// `bytea` or null.
pub(super) fn bytes(random: &mut Random) -> String {
    or_null(random, |random| {
        let length = random.below(40);
        let digits: Vec<String> = (0..length).map(|_| format!("{:02x}", random.below(256))).collect();
        format!("'\\x{}'", digits.concat())
    })
}
