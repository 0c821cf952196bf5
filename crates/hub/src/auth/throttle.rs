//! Slows down guessing: so many failures a minute for one name from one address, more for an address alone.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millrace_model::Timestamp;

use super::lasts;

/// Failures that are counted together.
const WINDOW: Duration = Duration::from_mins(1);
/// Kept at most; what is a minute old goes first when it is full.
const MOST: usize = 10_000;
/// Of those, this part goes next: the ones that have failed least.
const LEAST: usize = 10;

/// Where a caller is, as far as it is counted by that: its address, and of IPv6 the network, of which it has as many addresses as
/// it likes.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The same of an address that is a text.
pub(crate) fn place_of(address: &str) -> String {
    address.parse().map_or_else(|_none| address.to_owned(), |address| network_of(address).to_string())
}

/// Counts failures, and attempts whose outcome is not known yet.
#[derive(Default)]
pub(crate) struct Throttle {
    failures: Mutex<HashMap<String, (Timestamp, u32)>>,
}

impl Throttle {
    /// Counts one of each subject, before anything is tried: whoever asks at once gets no more than who asks in turn. Where one of them
    /// has reached its limit within a minute, nothing is counted, and these are the seconds to wait.
    pub(crate) fn count(&self, subjects: &[(&str, u32)], now: Timestamp) -> Result<(), u64> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = subjects.iter().filter_map(|(subject, limit)| {
            let (since, count) = failures.get(*subject)?;
            let gone = Duration::from_micros(u64::try_from(now.0 - since.0).unwrap_or_default());
            (count >= limit && lasts(*since, WINDOW, now)).then(|| WINDOW.saturating_sub(gone).as_secs() + 1)
        });
        if let Some(wait) = waits.max() {
            return Err(wait);
        }
        for (subject, _) in subjects {
            add(&mut failures, subject, now);
        }
        Ok(())
    }

    /// Forgets the failures of someone who got it right.
    pub(crate) fn right(&self, subject: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }

    /// Takes back one that was counted and was none.
    pub(crate) fn forgive(&self, subject: &str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = failures.get_mut(subject) {
            *count = count.saturating_sub(1);
        }
    }
}

fn add(failures: &mut HashMap<String, (Timestamp, u32)>, subject: &str, now: Timestamp) {
    if failures.len() >= MOST {
        failures.retain(|_, (since, _)| lasts(*since, WINDOW, now));
        // Somebody invents names faster than a minute goes by. Each of them has failed once, and those go: what has failed often
        // is what is to be slowed down.
        if failures.len() >= MOST {
            forget_least(failures);
        }
    }
    let entry = failures.entry(subject.to_owned()).or_insert((now, 0));
    if !lasts(entry.0, WINDOW, now) {
        *entry = (now, 0);
    }
    entry.1 += 1;
}

fn forget_least(failures: &mut HashMap<String, (Timestamp, u32)>) {
    let mut order: Vec<(u32, Reverse<Timestamp>)> =
        failures.values().map(|(since, count)| (*count, Reverse(*since))).collect();
    order.sort_unstable();
    let mut left = MOST / LEAST;
    let Some(last) = order.get(left).copied() else { return };
    failures.retain(|_, (since, count)| {
        let goes = left > 0 && (*count, Reverse(*since)) <= last;
        left -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_failures_have_to_wait_until_the_minute_is_over() {
        let throttle = Throttle::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for _ in 0..3 {
            assert_eq!(throttle.count(&[("ann", 3)], at(0)), Ok(()));
        }
        assert_eq!(throttle.count(&[("bob", 3), ("ann", 3)], at(10)), Err(51));
        assert_eq!(throttle.count(&[("bob", 1)], at(10)), Ok(()), "nothing was counted of what had to wait");
        let failures = |throttle: &Throttle| throttle.failures.lock().unwrap().get("ann").map(|(_, count)| *count);
        assert_eq!(failures(&throttle), Some(3));
        assert_eq!(
            throttle.count(&[("ann", 3)], at(-3600)),
            Ok(()),
            "a clock that was set back keeps nobody out for an hour"
        );
        assert_eq!(throttle.count(&[("ann", 3)], at(60)), Ok(()));
        throttle.right("ann");
        assert_eq!(throttle.count(&[("ann", 1)], at(60)), Ok(()));
        throttle.forgive("ann");
        assert_eq!(throttle.count(&[("ann", 1)], at(60)), Ok(()));
        assert!(throttle.count(&[("ann", 1)], at(61)).is_err());
    }

    #[test]
    fn invented_names_push_nobody_out_who_has_failed_often() {
        let throttle = Throttle::default();
        let now = Timestamp(0);
        let once = |subject: &str| throttle.count(&[(subject, 10)], now);
        for _ in 0..10 {
            assert_eq!(once("ann"), Ok(()));
        }
        for name in 0..3 * MOST {
            assert_eq!(once(&format!("invented {name}")), Ok(()));
        }
        assert!(once("ann").is_err());
        assert!(throttle.failures.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn a_caller_is_where_its_network_is() {
        assert_eq!(place_of("2001:db8:1:2:3:4:5:6"), place_of("2001:db8:1:2::1"));
        assert_ne!(place_of("2001:db8:1:2::1"), place_of("2001:db8:1:3::1"));
        assert_eq!(place_of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(place_of("nowhere"), "nowhere");
    }
}
