//! Whether the log of this server is the one that the lake was written from: a server that was restored from a backup, or
//! a standby that was promoted before it had everything, has another past than the lake.
//!
//! Invariant: its end is asked for after the slot is held. Nobody reads on then, so no commit of this log lies beyond it.

use millrace_model::SourceIdentity;

use crate::client::session::Session;
use crate::fault::Cause;
use crate::position::Lsn;
use crate::queries;

/// Where the log ends, and where it came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// Where it ends; not known while another process reads it, and may have read beyond.
    end: Option<Lsn>,
    timeline: u32,
    /// Earlier timelines, and where each was left.
    left: Vec<(u32, Lsn)>,
}

impl Past {
    /// Looks where the timeline comes from, over a connection for replication.
    pub(crate) async fn of(sender: &mut Session, timeline: &str) -> Result<Self, Cause> {
        let number = timeline.parse().map_err(|_not_a_number| Cause::Answer("a timeline that is no number"))?;
        let left = if number > 1 {
            let row = sender.row(&queries::timeline_history(number)).await?;
            parse(row.text(1)?)
        } else {
            Vec::new()
        };
        Ok(Self { end: None, timeline: number, left })
    }

    /// Looks where the log ends now.
    pub(crate) async fn see_end(&mut self, catalogue: &mut Session) -> Result<(), Cause> {
        let row = catalogue.row(queries::END).await?;
        self.end = Some(Lsn::parse(row.text(0)?).ok_or(Cause::Answer("a log without an end"))?);
        Ok(())
    }

    /// Why what was read up to `position` from the log `of` is not what this one has up to there; `None` where it is.
    pub(crate) fn differs(&self, position: Lsn, of: &SourceIdentity) -> Option<String> {
        if let Some(end) = self.end.filter(|end| *end < position) {
            return Some(format!("its log ends at {end}"));
        }
        let then = timeline_of(of).filter(|then| *then != self.timeline)?;
        match self.left.iter().find(|(timeline, _)| *timeline == then) {
            Some((_, at)) if *at >= position => None,
            Some((_, at)) => Some(format!("its timeline {} left timeline {then} at {at}", self.timeline)),
            None => Some(format!("its timeline {} does not come from timeline {then}", self.timeline)),
        }
    }
}

/// The timeline in the identity that a commit names.
fn timeline_of(identity: &SourceIdentity) -> Option<u32> {
    identity.identity.split_once("|timeline ")?.1.split_once('|')?.0.parse().ok()
}

/// A history file: `TIMELINE \t LEFT AT \t WHY` a line ("Timelines" in the manual's chapter on continuous archiving).
fn parse(text: &str) -> Vec<(u32, Lsn)> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, Lsn::parse(words.next()?)?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Lsn {
        Lsn::parse(text).unwrap()
    }

    fn of(timeline: u32) -> SourceIdentity {
        SourceIdentity { kind: "postgres".into(), identity: format!("7312|timeline {timeline}|slot s") }
    }

    #[test]
    fn a_log_that_ends_before_the_lake_is_another_one() {
        let past = Past { end: Some(at("0/500")), timeline: 1, left: Vec::new() };
        assert_eq!(past.differs(at("0/500"), &of(1)), None);
        assert_eq!(past.differs(at("0/501"), &of(1)).as_deref(), Some("its log ends at 0/500"));
        assert_eq!(Past { end: None, ..past }.differs(at("0/501"), &of(1)), None);
    }

    #[test]
    fn a_promotion_goes_on_with_what_was_read_before_it_and_with_nothing_after() {
        let left = parse("1\t0/300\tno recovery target specified\n\n2\t0/700\tno recovery target specified\n");
        let past = Past { end: Some(at("0/900")), timeline: 3, left };
        for (timeline, position, differs) in [
            (1, "0/300", None),
            (1, "0/301", Some("its timeline 3 left timeline 1 at 0/300")),
            (2, "0/700", None),
            (2, "0/701", Some("its timeline 3 left timeline 2 at 0/700")),
            (3, "0/900", None),
            (4, "0/100", Some("its timeline 3 does not come from timeline 4")),
        ] {
            assert_eq!(past.differs(at(position), &of(timeline)).as_deref(), differs, "{timeline} {position}");
        }
    }
}
