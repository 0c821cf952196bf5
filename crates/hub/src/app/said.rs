//! What agents may say. Their words stand in answers of the API, in mails and in calls of webhooks, so each is held against
//! what it can be.

use millrace_protocol::gateway::{AgentEvent, Hello, Reason, Sync};
use serde_json::Value;

use crate::fault::Refused;

const STATUSES: [&str; 5] = ["STARTING", "SNAPSHOTTING", "STREAMING", "STOPPING", "NOT_RUNNING"];
const SEVERITIES: [&str; 3] = ["info", "warning", "error"];
/// Stands for a word that is none.
const OTHER: &str = "other";
const LONGEST_WORD: usize = 40;
/// No chain gets there by counting; above it a hub that counts on would come to the end of its numbers.
const HIGHEST_EPOCH: u64 = 1 << 53;

/// The sync with every word one that can be. A status that is none is refused: the whole report says nothing then. Of the
/// rest, a code that is none is left out, so that nothing is lost beside it.
pub(super) fn checked(mut sync: Sync) -> Result<Sync, Refused> {
    if let Some(report) = &mut sync.report {
        if !STATUSES.contains(&report.status.as_str()) {
            return Err(Refused::invalid("report.status", format!("must be one of {}", STATUSES.join(", "))));
        }
        report.epoch = report.epoch.min(HIGHEST_EPOCH);
        report.reason.iter_mut().chain(report.refused.iter_mut().map(|refused| &mut refused.reason)).for_each(tidy);
    }
    sync.events.iter_mut().for_each(tidy_event);
    if let Some(conditions) = &mut sync.conditions {
        conditions.retain(|condition| is_word(&condition.kind));
    }
    for result in sync.results.iter_mut().filter(|result| !result.done) {
        if let Ok(mut reason) = serde_json::from_value::<Reason>(result.result.clone()) {
            tidy(&mut reason);
            result.result = serde_json::to_value(reason).unwrap_or(Value::Null);
        }
    }
    Ok(sync)
}

/// The hello with epochs that can be.
pub(super) fn checked_hello(mut hello: Hello) -> Hello {
    for held in hello.held.iter_mut().chain(&mut hello.kept) {
        held.epoch = held.epoch.min(HIGHEST_EPOCH);
    }
    hello
}

fn tidy(reason: &mut Reason) {
    reason.fault = reason.fault.take().filter(|fault| is_code(fault));
    if !is_word(&reason.code) && !is_code(&reason.code) {
        OTHER.clone_into(&mut reason.code);
    }
}

fn tidy_event(event: &mut AgentEvent) {
    if !is_word(&event.code) && !is_code(&event.code) {
        OTHER.clone_into(&mut event.code);
    }
    if !SEVERITIES.contains(&event.severity.as_str()) {
        "warning".clone_into(&mut event.severity);
    }
}

/// `log_lost`.
fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.len() <= LONGEST_WORD && text.bytes().all(fits)
}

/// `PG-001`.
fn is_code(text: &str) -> bool {
    let [room @ .., b'-', a, b, c] = text.as_bytes() else { return false };
    room.len() == 2 && room.iter().all(u8::is_ascii_uppercase) && [a, b, c].iter().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_are_told_from_what_is_none() {
        for word in ["log_lost", "retrying", "a1"] {
            assert!(is_word(word) && !is_code(word), "{word}");
        }
        for code in ["PG-001", "AG-013"] {
            assert!(is_code(code) && !is_word(code), "{code}");
        }
        for none in ["", "PG-001<script>", "PG-001\r\nX: y", "pg-001", "PG-1", "P-0001", "PGX-001", "a b", "ä", "_a"] {
            assert!(!is_word(none) && !is_code(none), "{none}");
        }
        assert!(!is_word(&"a".repeat(LONGEST_WORD + 1)));
    }
}
