//! What is sent by OTLP: settings and variables together, and the packs that the settings name.

use super::{Check, no_pack};
use crate::config::load::ENVIRONMENT;
use crate::config::otlp::{OtlpSettings, Place, resolve};
use crate::config::raw::RawOtlp;
use crate::yaml::Complaint;

impl Check<'_> {
    pub(super) fn otlp(&mut self, raw: &RawOtlp, variable: &dyn Fn(&str) -> Option<String>) -> OtlpSettings {
        let (settings, errors) = resolve(raw, variable);
        for (place, message) in errors {
            match place {
                Place::Setting(path) => self.complain(&super::strs(&path), message),
                Place::Variable(name) => {
                    self.complaints.push(Complaint { file: ENVIRONMENT.into(), line: None, place: name, message });
                }
            }
        }
        let Some(packs) = self.packs.clone() else { return settings };
        for app in raw.traces.services.keys().filter(|app| !packs.iter().any(|pack| pack.app == **app)) {
            self.complain(&["otlp", "traces", "services", app], no_pack(app, &packs));
        }
        settings
    }
}
