//! Names that refer to something: packs, collectors, the source that is an application's database.
//!
//! A name that refers to nothing is told with what is near. One that a variable filled is shown as the file has it.

use std::sync::Arc;

use super::{Check, extended, quoted, strs};
use crate::config::SourceSettings;
use crate::config::raw::RawConfig;
use crate::pack::Pack;
use crate::yaml::did_you_mean;

impl Check<'_> {
    /// A source that names its database must name one that is there.
    pub(super) fn links(&mut self, raw: &RawConfig, sources: &[SourceSettings]) {
        for (index, source) in raw.sources.iter().enumerate() {
            let Some(name) = &source.database else { continue };
            let path = ["sources".to_owned(), index.to_string(), "database".to_owned()];
            self.link(&path, name, sources, sources.len() == raw.sources.len());
        }
    }

    /// `all_are_there`: no source is amiss, so that one which is not among them is not in the file either.
    pub(super) fn link(&mut self, path: &[String], name: &str, sources: &[SourceSettings], all_are_there: bool) {
        match sources.iter().find(|other| other.name == name) {
            Some(other) if other.upstream.database().is_some() => {}
            Some(_) => self.complain(&strs(path), "this source is no database"),
            None if !all_are_there => {}
            None => {
                let suggestion = did_you_mean(name, sources.iter().map(|other| other.name.as_str()));
                let shown = self.shown(path, name);
                self.complain(&strs(path), format!("there is no source {}{suggestion}", quoted(&shown)));
            }
        }
    }

    pub(super) fn pack_names(&mut self, names: &[String], path: &[String]) {
        let Some(packs) = self.packs.clone() else { return };
        for (number, name) in names.iter().enumerate().filter(|(_, name)| !packs.iter().any(|pack| pack.app == **name))
        {
            let path = extended(path, &number.to_string());
            let message = no_pack(&self.shown(&path, name), &packs);
            self.complain(&strs(&path), &message);
        }
    }

    /// Packs as a whole, or collectors of theirs.
    pub(super) fn skip_names(&mut self, names: &[String], path: &[String]) {
        for (number, name) in names.iter().enumerate() {
            if self.packs.iter().flatten().any(|pack| pack.app == *name) {
                continue;
            }
            self.collector_name(name, &extended(path, &number.to_string()));
        }
    }

    pub(super) fn collector_name(&mut self, name: &str, path: &[String]) {
        let Some(packs) = &self.packs else { return };
        let known: Vec<String> = packs
            .iter()
            .flat_map(|pack| pack.collectors.iter().map(|collector| format!("{}/{}", pack.app, collector.name)))
            .collect();
        if known.iter().any(|known| known == name) {
            return;
        }
        let suggestion = did_you_mean(name, known.iter().map(String::as_str));
        let shown = self.shown(path, name);
        self.complain(
            &strs(path),
            format!("there is no collector {}{suggestion}; write pack/collector", quoted(&shown)),
        );
    }
}

pub(super) fn no_pack(name: &str, packs: &[Arc<Pack>]) -> String {
    let known = packs.iter().map(|pack| pack.app.as_str());
    let suggestion = did_you_mean(name, known.clone());
    let known: Vec<&str> = known.collect();
    format!("there is no pack {}{suggestion}; known: {}", quoted(name), known.join(", "))
}
