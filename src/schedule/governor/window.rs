//! What was spent in the last 24 hours, hour by hour.
//!
//! Arithmetic with time as an argument. Hours are whole, so what was spent counts for 24 to 25 hours: rather too long than
//! too short.

use std::collections::VecDeque;
use std::time::Duration;

/// Length of a slot. What was spent in it comes back at once.
pub const SLOT: Duration = Duration::from_secs(3600);

/// Slots that count beside the one that is going on.
const SLOTS: u64 = 24;

/// The time that a budget is for.
pub const WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Today need not be like yesterday: of any time ahead at least so much is taken for busy.
const LEAST_BUSY_SHARE: f64 = 1.0 / 3.0;

/// Amounts of one kind by the hour of their spending.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Number of the hour and what was spent in it, in their order; only what counts.
    slots: VecDeque<(u64, f64)>,
}

impl Window {
    /// So much was spent at a time.
    pub fn add(&mut self, at: Duration, amount: f64) {
        let slot = slot(at);
        match self.slots.back_mut() {
            Some((last, spent)) if *last >= slot => *spent += amount,
            _ => self.slots.push_back((slot, amount)),
        }
        self.forget(at);
    }

    /// The whole time from one moment to another was spent, in seconds.
    pub fn add_span(&mut self, from: Duration, until: Duration) {
        let mut from = from.max(until.saturating_sub(WINDOW + SLOT));
        while from < until {
            let end = (SLOT * (slot(from) as u32 + 1)).min(until);
            self.add(from, (end - from).as_secs_f64());
            from = end;
        }
    }

    /// What counts now.
    pub fn spent(&self, now: Duration) -> f64 {
        self.counting(now).map(|(_, spent)| spent).sum()
    }

    /// The highest rate, a second, that `left` bears until all of this has come back hour by hour, when nothing is spent
    /// in the times of day that were quiet the day before. `quiet` has the seconds of them.
    pub fn rate(&self, now: Duration, left: f64, quiet: &Window) -> f64 {
        let current = slot(now);
        let rest_of_hour = 1.0 - (now.as_secs_f64() / SLOT.as_secs_f64()).fract();
        let (mut back, mut busy, mut ahead) = (left.max(0.0), 0.0, 0.0);
        let mut rate = f64::INFINITY;
        // The hour to come that is like the hour of this slot ends when the slot counts no more.
        for hour in 0..=SLOTS {
            let slot = (current + hour).checked_sub(SLOTS);
            let share = if hour == 0 { rest_of_hour } else { 1.0 };
            let length = SLOT.as_secs_f64();
            ahead += share * length;
            busy += share * (length - slot.map_or(0.0, |slot| quiet.in_slot(slot))).max(0.0);
            rate = rate.min(back / busy.max(ahead * LEAST_BUSY_SHARE));
            back += slot.map_or(0.0, |slot| self.in_slot(slot));
        }
        rate
    }

    /// When so much has come back; after a whole window at the latest.
    pub fn comes_back(&self, now: Duration, amount: f64) -> Duration {
        let mut back = 0.0;
        for (slot, spent) in self.counting(now) {
            back += spent;
            if back >= amount {
                return expiry(slot);
            }
        }
        now + WINDOW
    }

    fn in_slot(&self, slot: u64) -> f64 {
        self.slots.iter().find(|(of, _)| *of == slot).map_or(0.0, |(_, spent)| *spent)
    }

    fn counting(&self, now: Duration) -> impl Iterator<Item = (u64, f64)> {
        self.slots.iter().copied().filter(move |(slot, _)| expiry(*slot) > now)
    }

    fn forget(&mut self, now: Duration) {
        while self.slots.front().is_some_and(|(slot, _)| expiry(*slot) <= now) {
            self.slots.pop_front();
        }
    }
}

fn slot(at: Duration) -> u64 {
    at.as_secs() / SLOT.as_secs()
}

/// When what was spent in a slot counts no more.
fn expiry(slot: u64) -> Duration {
    Duration::from_secs((slot + 1 + SLOTS) * SLOT.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = SLOT;

    #[test]
    fn what_was_spent_counts_for_a_day_and_comes_back() {
        let mut window = Window::default();
        window.add(HOUR / 2, 10.0);
        window.add(HOUR * 3, 5.0);
        assert_eq!(window.spent(HOUR * 24 + HOUR / 2), 15.0, "within 24 hours");
        assert_eq!(window.comes_back(HOUR * 4, 9.0), HOUR * 25);
        assert_eq!(window.comes_back(HOUR * 4, 11.0), HOUR * 28);
        assert_eq!(window.spent(HOUR * 25), 5.0);
        assert_eq!(window.comes_back(HOUR * 26, 100.0), HOUR * 50, "what was never there comes not back");
        for hour in 0..1000 {
            window.add(HOUR * hour, 1.0);
        }
        assert!(window.slots.len() <= 25, "{}", window.slots.len());
    }

    #[test]
    fn spans_lie_in_their_hours() {
        let mut window = Window::default();
        window.add_span(HOUR / 2, HOUR * 2 + HOUR / 4);
        let amounts: Vec<f64> = window.slots.iter().map(|(_, spent)| *spent).collect();
        assert_eq!(amounts, [1800.0, 3600.0, 900.0]);
        window.add_span(HOUR * 3, HOUR * 500);
        assert!(window.slots.len() <= 26, "{}", window.slots.len());
    }

    #[test]
    fn a_rate_lasts_until_the_next_hours_come_back() {
        let never = Window::default();
        let mut window = Window::default();
        assert_eq!(window.rate(Duration::ZERO, 90_000.0, &never), 1.0);
        assert_eq!(window.rate(HOUR * 30 + HOUR / 2, 24.5 * 3600.0, &never), 1.0, "the rest of this hour and 24 more");
        // 36000 come back in an hour; until then 360 are left.
        window.add(Duration::ZERO, 36_000.0);
        assert_eq!(window.rate(HOUR * 24, 360.0, &never), 0.1);
        assert_eq!(window.rate(HOUR * 24, 360_000.0, &never), 396_000.0 / 90_000.0);
        assert_eq!(window.rate(HOUR * 20, 0.0, &never), 0.0);
        assert_eq!(window.rate(HOUR * 20, -5.0, &never), 0.0);
    }

    #[test]
    fn hours_that_were_quiet_yesterday_need_nothing_today() {
        let window = Window::default();
        let mut quiet = Window::default();
        // Quiet from the tenth hour on, until the day is over; now it is the eighth hour of the next.
        quiet.add_span(HOUR * 10, HOUR * 24);
        let rate = window.rate(HOUR * 32, 36_000.0, &quiet);
        let busy = 2.0 + 9.0;
        assert_eq!(rate, 36_000.0 / (busy * 3600.0));
        quiet.add_span(HOUR * 24, HOUR * 32);
        let rate = window.rate(HOUR * 32, 36_000.0, &quiet);
        assert!((rate - 36_000.0 * 3.0 / 90_000.0).abs() < 1e-9, "{rate}: a third may be busy all the same");
    }
}
