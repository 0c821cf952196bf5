//! A fuse: lets a chosen step of a fake end a process, or swallow an answer.
//!
//! Every step of a fake asks its fuse. Step numbers count over all fakes of one process, so a test can say "die before the
//! 17th thing that this process does to the world" and try every number until none is left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// What happens at the chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The process is killed before the step takes effect.
    DieBefore,
    /// The process is killed after the step took effect, before it hears of it.
    DieAfter,
    /// The step takes effect, but its answer is lost.
    LoseAnswer,
    /// The step does not take effect, and no answer comes.
    Refuse,
    /// No answer comes; the step takes effect when the test lands it (`Fuse::land`).
    Late,
    /// The process stands still before the step until the test resumes it.
    Pause,
}

impl Blow {
    /// Every way in which a step can go wrong without the test's further help.
    pub const ALONE: [Self; 4] = [Self::DieBefore, Self::DieAfter, Self::LoseAnswer, Self::Refuse];
}

/// No answer came; the step may or may not have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

struct State {
    blows: Vec<(u64, Blow)>,
    steps: AtomicU64,
    dead: AtomicBool,
    died: Notify,
    trace: Mutex<Vec<String>>,
    late: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    /// Steps of this name get no answer.
    refused: Mutex<Option<String>>,
    paused: AtomicBool,
    turned: Notify,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fuse").field("blows", &self.blows).field("steps", &self.steps).finish_non_exhaustive()
    }
}

/// One process's fuse; clones share it.
#[derive(Clone, Debug)]
pub struct Fuse(Arc<State>);

impl Fuse {
    /// A fuse that blows at these steps (numbered from 0).
    pub fn new(blows: impl IntoIterator<Item = (u64, Blow)>) -> Self {
        Self(Arc::new(State {
            blows: blows.into_iter().collect(),
            steps: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            trace: Mutex::new(Vec::new()),
            late: Mutex::new(Vec::new()),
            refused: Mutex::new(None),
            paused: AtomicBool::new(false),
            turned: Notify::new(),
        }))
    }

    /// A fuse that never blows.
    pub fn never() -> Self {
        Self::new([])
    }

    /// How many steps were asked for.
    pub fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::SeqCst)
    }

    /// Whether the process was killed.
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::SeqCst)
    }

    /// Waits until the process is killed; the test then drops it.
    pub async fn dead(&self) {
        let died = self.0.died.notified();
        if !self.is_dead() {
            died.await;
        }
    }

    /// Waits until the process stands still, or is dead.
    pub async fn halted(&self) {
        while !self.0.paused.load(Ordering::SeqCst) && !self.is_dead() {
            let turned = self.0.turned.notified();
            tokio::select! {
                () = turned => {}
                () = self.dead() => return,
            }
        }
    }

    /// From here on every step of this name takes no effect and gets no answer; `None`: all are answered again.
    pub fn refuse(&self, name: Option<&str>) {
        if let Ok(mut refused) = self.0.refused.lock() {
            *refused = name.map(str::to_owned);
        }
    }

    fn refuses(&self, name: &str) -> bool {
        self.0.refused.lock().is_ok_and(|refused| refused.as_deref() == Some(name))
    }

    /// Lets a process that stands still go on.
    pub fn resume(&self) {
        self.0.paused.store(false, Ordering::SeqCst);
        self.0.turned.notify_waiters();
    }

    /// Lands what was late, in the order in which it was asked for.
    pub fn land(&self) {
        let late = self.0.late.lock().map(|mut late| std::mem::take(&mut *late)).unwrap_or_default();
        for effect in late {
            effect();
        }
    }

    /// What the process did, one line a step.
    pub fn trace(&self) -> Vec<String> {
        self.0.trace.lock().map(|trace| trace.clone()).unwrap_or_default()
    }

    /// One step: `effect` upon the world, unless the fuse blows.
    pub async fn step<T: Send + 'static>(
        &self,
        name: &str,
        effect: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let number = self.0.steps.fetch_add(1, Ordering::SeqCst);
        let blow = self.0.blows.iter().find(|(at, _)| *at == number).map(|&(_, blow)| blow);
        let blow = blow.or_else(|| self.refuses(name).then_some(Blow::Refuse));
        if let Ok(mut trace) = self.0.trace.lock() {
            trace.push(blow.map_or_else(|| format!("{number} {name}"), |blow| format!("{number} {name}: {blow:?}")));
        }
        match blow {
            None => Ok(self.done(effect).await),
            Some(Blow::Pause) => {
                self.stand_still().await;
                Ok(self.done(effect).await)
            }
            Some(Blow::Refuse) => Err(Unanswered),
            Some(Blow::LoseAnswer) => {
                effect();
                Err(Unanswered)
            }
            Some(Blow::Late) => {
                if let Ok(mut late) = self.0.late.lock() {
                    late.push(Box::new(move || drop(effect())));
                }
                Err(Unanswered)
            }
            Some(Blow::DieBefore) => self.die().await,
            Some(Blow::DieAfter) => {
                effect();
                self.die().await
            }
        }
    }

    async fn done<T>(&self, effect: impl FnOnce() -> T) -> T {
        let value = effect();
        // Others may act between two steps of this process.
        tokio::task::yield_now().await;
        value
    }

    async fn stand_still(&self) {
        self.0.paused.store(true, Ordering::SeqCst);
        self.0.turned.notify_waiters();
        self.0.turned.notify_one();
        while self.0.paused.load(Ordering::SeqCst) {
            self.0.turned.notified().await;
        }
    }

    async fn die<T>(&self) -> T {
        self.0.dead.store(true, Ordering::SeqCst);
        self.0.died.notify_waiters();
        self.0.died.notify_one();
        std::future::pending().await
    }
}
