//! A person's session in the console: the cookie, the token in its forms, and how long it lasts.
//!
//! Only the hash of a cookie's value is stored. The forms' token follows from the value, so it needs no place of its own.

use std::time::Duration;

use super::secret;
use crate::fault::Refused;
use millrace_model::Timestamp;

/// Without a click for so long, a session ends.
pub(crate) const IDLE: Duration = Duration::from_mins(30);
/// However busy, it ends after so long.
pub(crate) const ABSOLUTE: Duration = Duration::from_hours(12);

/// A browser keeps a `__Host-` cookie for exactly this host, and over https only.
const SECURE: &str = "__Host-millrace";
const PLAIN: &str = "millrace";

/// The value of a cookie.
pub(crate) struct Ticket(String);

impl Ticket {
    /// A new one.
    pub(crate) fn new() -> Result<Self, Refused> {
        secret::token().map(Self)
    }

    /// The one that a `Cookie` header holds.
    pub(crate) fn from_header(header: &str, secure: bool) -> Option<Self> {
        cookie(header, name(secure)).filter(|value| !value.is_empty()).map(|value| Self(value.to_owned()))
    }

    /// What is stored of it.
    pub(crate) fn hash(&self) -> String {
        secret::hash(&self.0)
    }

    /// The token that its forms carry.
    pub(crate) fn form_token(&self) -> String {
        secret::hash(&format!("form:{}", self.0))
    }

    /// Whether a form came from a page of this session.
    pub(crate) fn made(&self, token: &str) -> bool {
        secret::matches(&format!("form:{}", self.0), token)
    }

    /// The header that sets it.
    pub(crate) fn set(&self, secure: bool) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Lax{}", name(secure), self.0, suffix(secure))
    }

    /// The header that takes it away.
    pub(crate) fn clear(secure: bool) -> String {
        format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{}", name(secure), suffix(secure))
    }
}

/// The value of the cookie of that name.
pub(crate) fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn name(secure: bool) -> &'static str {
    if secure { SECURE } else { PLAIN }
}

fn suffix(secure: bool) -> &'static str {
    if secure { "; Secure" } else { "" }
}

/// Whether a session that began and was last seen then is over.
pub(crate) fn is_over(created_at: Timestamp, last_seen_at: Timestamp, now: Timestamp) -> bool {
    past(created_at, ABSOLUTE, now) || past(last_seen_at, IDLE, now)
}

/// Whether more than `span` has passed since `at`.
pub(crate) fn past(at: Timestamp, span: Duration, now: Timestamp) -> bool {
    let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    now.0.saturating_sub(at.0) >= span
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: i64) -> Timestamp {
        Timestamp(count * 60_000_000)
    }

    #[test]
    fn a_session_ends_when_nobody_clicks_and_after_half_a_day_in_any_case() {
        assert!(!is_over(minutes(0), minutes(100), minutes(129)));
        assert!(is_over(minutes(0), minutes(100), minutes(130)));
        assert!(!is_over(minutes(0), minutes(719), minutes(719)));
        assert!(is_over(minutes(0), minutes(719), minutes(720)));
    }

    #[test]
    fn the_cookie_is_bound_to_the_host_over_https_and_its_forms_to_the_cookie() {
        let ticket = Ticket::new().unwrap();
        let set = ticket.set(true);
        assert!(set.starts_with("__Host-millrace=") && set.contains("; Secure") && set.contains("; HttpOnly"), "{set}");
        assert!(!ticket.set(false).contains("Secure"));
        let header = format!("theme=dark; {}", set.split(';').next().unwrap());
        let again = Ticket::from_header(&header, true).unwrap();
        assert_eq!(again.hash(), ticket.hash());
        assert!(again.made(&ticket.form_token()) && !again.made(&Ticket::new().unwrap().form_token()));
        assert!(Ticket::from_header(&header, false).is_none());
    }
}
