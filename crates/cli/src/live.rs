//! The live view of a run on a terminal: a bar for each table that is being read, and a line that says how it goes.
//!
//! `view` turns the numbers of the meter into lines and is tested as such; this page only asks for them again and again.

mod view;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::paint::Paint;
use crate::screen::Screen;
use millrace_agent::clock::SystemClock;
use millrace_agent::meter::Meter;
use view::View;

/// Fast enough to look alive, slow enough to cost nothing.
const FRAME: Duration = Duration::from_millis(120);

/// A live view; when it is dropped it leaves the screen clean.
pub(crate) struct Live {
    screen: Arc<Screen>,
    drawing: tokio::task::JoinHandle<()>,
}

impl Live {
    /// Whether standard error is a terminal that can be drawn on.
    pub(crate) fn is_possible() -> bool {
        std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Draws from now on, beside the run.
    #[expect(clippy::disallowed_methods, reason = "whoever drops the view ends its task")]
    pub(crate) fn start(screen: Arc<Screen>, meter: Arc<Meter>) -> Self {
        let mut view = View::new(Paint::of(&std::io::stderr()));
        let drawn = Arc::clone(&screen);
        let drawing = tokio::spawn(async move {
            let mut frames = tokio::time::interval(FRAME);
            frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                frames.tick().await;
                let lines = view.lines(&meter.read(), SystemClock::time(), Instant::now(), Screen::size());
                drawn.draw(lines);
            }
        });
        Self { screen, drawing }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.drawing.abort();
        // A frame that is under way finds the screen closed.
        self.screen.close();
    }
}
