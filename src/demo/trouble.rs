//! What goes wrong on purpose: which troubles there are, which are wanted, and which are under way.
//!
//! It decides when a trouble begins and ends. What happens in it is the script's, and done where everything else is done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::draw::{Lots, Value};
use super::script::{Action, Script, Trouble};
use super::timetable::{First, Timetable};
use crate::family::Micros;

/// The troubles of all applications, and whether each is wanted. Whoever asks for one and whoever makes it share it.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<String, TroubleState>>>);

/// A trouble as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TroubleState {
    /// The application.
    pub app: String,
    /// Its name.
    pub name: String,
    /// What goes wrong.
    pub about: String,
    /// Alerts that it is to set off.
    pub alerts: Vec<String>,
    /// Whether it is wanted.
    pub wanted: bool,
    /// Whether it is under way: what it does is being done, and not mended yet.
    pub on: bool,
}

impl Troubles {
    /// All of them, in the order of their names.
    pub fn list(&self) -> Vec<TroubleState> {
        self.lock().values().cloned().collect()
    }

    /// One by its name, `app/name`.
    pub fn get(&self, name: &str) -> Option<TroubleState> {
        self.lock().get(name).cloned()
    }

    /// Wants a trouble by its name, `app/name`, or wants it no more; tells whether there is such a one.
    pub fn want(&self, name: &str, wanted: bool) -> bool {
        self.lock().get_mut(name).map(|trouble| trouble.wanted = wanted).is_some()
    }

    /// Their names and what they are, for people.
    pub fn described(&self) -> String {
        self.list().iter().map(|one| format!("  {:<36} {}\n", format!("{}/{}", one.app, one.name), one.about)).collect()
    }

    /// Knows the troubles of a script.
    pub(super) fn know(&self, script: &Script) {
        script.troubles.iter().for_each(|trouble| self.add(&script.app, trouble));
    }

    fn add(&self, app: &str, trouble: &Trouble) {
        let state = TroubleState {
            app: app.to_owned(),
            name: trouble.name.clone(),
            about: trouble.about.clone(),
            alerts: trouble.alerts.clone(),
            wanted: false,
            on: false,
        };
        self.lock().insert(format!("{app}/{}", trouble.name), state);
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|trouble| trouble.wanted)
    }

    fn is_on(&self, name: &str, on: bool) {
        if let Some(trouble) = self.lock().get_mut(name) {
            trouble.on = on;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, TroubleState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The troubles of one application.
pub(super) struct OwnTroubles {
    all: Vec<OwnTrouble>,
    shared: Troubles,
    lots: Lots,
}

struct OwnTrouble {
    /// `app/name`.
    name: String,
    trouble: Trouble,
    /// While it is under way.
    timetable: Option<Timetable>,
}

impl OwnTroubles {
    /// Troubles of which none is under way. What they draw has no influence on anything else.
    pub(super) fn new(app: &str, troubles: Vec<Trouble>, shared: &Troubles, seed: u64) -> Self {
        let all = troubles.into_iter().map(|trouble| {
            shared.add(app, &trouble);
            OwnTrouble { name: format!("{app}/{}", trouble.name), trouble, timetable: None }
        });
        let lots = Lots::new(xxhash_rust::xxh3::xxh3_64_with_seed(format!("troubles of {app}").as_bytes(), seed));
        OwnTroubles { all: all.collect(), shared: shared.clone(), lots }
    }

    /// Whether an action rests because of a trouble.
    pub(super) fn stop(&self, action: &str) -> bool {
        let under_way = self.all.iter().filter(|own| own.timetable.is_some());
        under_way.flat_map(|own| &own.trouble.stops).any(|stopped| stopped == action)
    }

    /// Begins what is wanted, and brings what is due by `until`: each action with its time.
    pub(super) fn due(&mut self, until: Micros) -> Vec<(Micros, &Action, Vec<Value>)> {
        let mut due = Vec::new();
        let OwnTroubles { all, shared, lots } = self;
        for own in all {
            if !shared.is_wanted(&own.name) {
                continue;
            }
            let actions = &own.trouble.actions;
            let timetable = own.timetable.get_or_insert_with(|| Timetable::new(actions, until, 1.0, First::Now, lots));
            // What was not done while nothing could be written is done once.
            timetable.leave_out_before(until - LATE);
            while let Some((index, at)) = timetable.next_until(until, actions, 1.0, lots) {
                due.push((at, &actions[index], actions[index].draw(at, lots)));
            }
        }
        due
    }

    /// What is no more wanted and to be mended.
    pub(super) fn over(&mut self, at: Micros) -> Vec<(String, &Action, Vec<Value>)> {
        let OwnTroubles { all, shared, lots } = self;
        let over = all.iter().filter(|own| own.timetable.is_some() && !shared.is_wanted(&own.name));
        over.map(|own| (own.name.clone(), &own.trouble.mend, own.trouble.mend.draw(at, lots))).collect()
    }

    /// What was done is written for good: tells which troubles are under way and which are over.
    pub(super) fn written(&mut self, mended: &[String]) {
        for own in &mut self.all {
            if mended.contains(&own.name) {
                own.timetable = None;
            }
            self.shared.is_on(&own.name, own.timetable.is_some());
        }
    }
}

/// Actions of a trouble that were due longer ago happen once. In microseconds.
const LATE: Micros = 5_000_000;
