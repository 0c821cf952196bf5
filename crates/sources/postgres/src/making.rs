//! The wait for a slot that is being made, which has no end of its own: its making waits for every running transaction.
//!
//! Where the way to the server is cut without a word, or something on it keeps our end alone alive, no answer will ever come.
//! The catalogue, asked on another session, tells the two apart: while a slot is in the making, the server has not answered.

use std::time::{Duration, Instant};

use crate::fault::Cause;

/// A slot that has been complete, or gone, for so long without an answer to who made it is none that waits for transactions.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the catalogue shows a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The server has not begun to make it, or it is gone.
    Absent,
    /// It waits for transactions.
    InTheMaking,
    /// Its maker has all but the answer.
    Complete,
}

/// What was seen of a slot whose making has no answer yet.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    was_there: bool,
    /// Since when an answer should have come.
    overdue: Option<Instant>,
}

impl Wait {
    /// Gives the making up where its answer is long overdue. The next attempt asks on another connection.
    #[expect(clippy::disallowed_methods, reason = "how long this process waits for an answer")]
    pub(crate) fn see(&mut self, shown: Shown) -> Result<(), Cause> {
        self.see_at(shown, Instant::now())
    }

    fn see_at(&mut self, shown: Shown, now: Instant) -> Result<(), Cause> {
        self.was_there |= shown != Shown::Absent;
        if shown == Shown::InTheMaking || !self.was_there {
            self.overdue = None;
            return Ok(());
        }
        let waited = now.saturating_duration_since(*self.overdue.get_or_insert(now));
        if waited < PATIENCE { Ok(()) } else { Err(Cause::Silent { seconds: waited.as_secs() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a wait that sees this, a second apart, for as long as it may.
    fn gives_up_after(shown: impl Fn(u64) -> Shown) -> Option<u64> {
        let (mut wait, began) = (Wait::default(), Instant::now());
        (0..60).find(|&second| wait.see_at(shown(second), began + Duration::from_secs(second)).is_err())
    }

    #[test]
    fn a_making_without_an_answer_is_given_up_only_where_the_server_has_nothing_to_wait_for() {
        use Shown::{Absent, Complete, InTheMaking};
        assert_eq!(gives_up_after(|_| InTheMaking), None);
        // What was asked for may be on its way still; the socket's own probes notice where it is lost.
        assert_eq!(gives_up_after(|_| Absent), None);
        let after = |state| move |second| if second < 5 { InTheMaking } else { state };
        assert_eq!((gives_up_after(after(Complete)), gives_up_after(after(Absent))), (Some(15), Some(15)));
        assert_eq!(gives_up_after(|second| if second % 5 == 0 { InTheMaking } else { Complete }), None);
    }
}
