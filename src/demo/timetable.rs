//! When the next thing happens. Every action comes around again and again, a little irregularly, in bursts where the
//! script says so, and more often in the busy part of the hour.
//!
//! Nothing here reads a clock: it is told until when it may look.

use super::draw::Lots;
use super::script::Action;
use crate::family::Micros;

/// The first time of an action that is to happen soon lies at most so far after the beginning. In microseconds.
const FIRST_WITHIN: f64 = 10e6;

/// How much more happens in the busy part of the hour than on average, and less in the quiet one.
const SWING: f64 = 0.3;

/// One hour, in microseconds.
const HOUR: f64 = 3600e6;

/// When an action happens for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// At once.
    Now,
    /// Within seconds, however rare it is, so that a demo shows everything soon.
    Soon,
    /// At any moment of its first round.
    InItsTime,
}

/// When each action is due next.
pub(super) struct Timetable {
    due: Vec<Micros>,
}

impl Timetable {
    /// Begins at `start`; `rate` is how often things happen, 1 as the script says.
    pub(super) fn new(actions: &[Action], start: Micros, rate: f64, when: First, lots: &mut Lots) -> Self {
        let first = |action: &Action, lots: &mut Lots| {
            let every = action.every_micros() / action.rate(rate);
            let within = match when {
                First::Now => 0.0,
                First::Soon => every.min(FIRST_WITHIN),
                First::InItsTime => every,
            };
            start + (within * lots.unit()) as Micros
        };
        Timetable { due: actions.iter().map(|action| first(action, lots)).collect() }
    }

    /// The next action that is due by `until`, and its time. The action is then set to its next time.
    pub(super) fn next_until(
        &mut self,
        until: Micros,
        actions: &[Action],
        rate: f64,
        lots: &mut Lots,
    ) -> Option<(usize, Micros)> {
        let (index, at) = self.due.iter().copied().enumerate().min_by_key(|(_, at)| *at)?;
        if at > until {
            return None;
        }
        let action = &actions[index];
        let busy = 1.0 + SWING * (std::f64::consts::TAU * (at as f64 / HOUR).fract()).sin();
        let factor = action.rate(rate) * busy * action.burst_factor(at);
        let pause = action.every_micros() / factor.max(f64::MIN_POSITIVE) * (0.5 + lots.unit());
        self.due[index] = at.saturating_add((pause as Micros).max(1));
        Some((index, at))
    }

    /// What was due before `at` is due at `at`, once.
    pub(super) fn leave_out_before(&mut self, at: Micros) {
        for due in &mut self.due {
            *due = at.max(*due);
        }
    }
}
