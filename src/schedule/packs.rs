//! Which packs apply to a source: those that the operator names, else those that fit.
//!
//! A database shows by its tables whose it is. What has no tables follows the application's database, or has the packs of
//! its kind of server alone.

use std::sync::Arc;

use crate::config::{Settings, SourceSettings};
use crate::pack::Pack;
use crate::source::{Opened, Source};
use crate::telemetry::Failure;

use super::Context;
use super::gate::Gate;

/// What applies now.
pub(super) struct Fitting {
    /// What applies for certain, whatever became of the look.
    pub(super) packs: Vec<Arc<Pack>>,
    /// Whether that is all, as far as can be known now; the failure when the database could not be asked.
    pub(super) settled: Result<bool, Failure>,
}

/// The packs of a source. Those that are common to its kind of server apply although the server cannot be reached: that it
/// cannot is what they are to say.
pub(super) async fn of(settings: &SourceSettings, context: &Context, opened: &Opened, gate: &Gate) -> Fitting {
    let all = &context.settings.packs;
    let reads = settings.upstream.reads();
    if let Some(names) = &settings.packs {
        let named = all.iter().filter(|pack| names.contains(&pack.app) && pack.has_collectors_for(reads));
        return Fitting { packs: named.cloned().collect(), settled: Ok(true) };
    }
    let common = all.iter().filter(|pack| pack.common.is_some_and(|kind| settings.upstream.is(kind)));
    let mut packs: Vec<Arc<Pack>> = common.cloned().collect();
    match opened.database() {
        Some(database) => {
            let settled = detected(all, database, gate).await.map(|detected| packs.extend(detected));
            Fitting { packs, settled: settled.map(|()| true) }
        }
        None => {
            let Followed { names, settled, fails } = followed(settings, context);
            let own = all.iter().filter(|pack| names.contains(&pack.app) && pack.has_collectors_for(reads));
            let own: Vec<Arc<Pack>> = own.filter(|pack| pack.common.is_none()).cloned().collect();
            if opened.is_endpoint() && (!own.is_empty() || !(settled || fails)) {
                // The application's own pack knows better where its health is told than the URL does. While its database fails,
                // and nobody knows whose it is, the URL is what there is: health is worth most then.
                packs.clear();
            }
            packs.extend(own);
            Fitting { packs, settled: Ok(settled) }
        }
    }
}

/// What to tell while the application's database has not told yet which packs fit it.
pub(super) fn waiting(settings: &SourceSettings) -> String {
    let database = settings.database.as_deref().unwrap_or_default();
    format!("waits for the source {database}, whose tables tell which packs apply; `packs` would say it at once")
}

/// Whether a pack is running that is not just there for every server of the kind; what is no database is content with one
/// that is.
pub(super) fn any_fits<'r>(
    settings: &SourceSettings,
    packs: &[Arc<Pack>],
    mut running: impl Iterator<Item = &'r String>,
) -> bool {
    let is_common = |app: &String| packs.iter().any(|pack| pack.app == *app && pack.common.is_some());
    let may_be_common = settings.upstream.database().is_none() || settings.packs.is_some();
    running.any(|app| may_be_common || !is_common(app))
}

/// What to tell an operator who has not said whose a source is, where it cannot be guessed.
pub(super) fn unlinked(source: &SourceSettings, settings: &Settings) -> Option<String> {
    let databases = settings.sources.iter().filter(|other| other.upstream.database().is_some()).count();
    let says_nothing = source.packs.is_none() && source.database.is_none() && source.upstream.database().is_none();
    (says_nothing && databases > 1).then(|| {
        format!(
            "there are {databases} databases, and nothing says whose this {} is, so it runs the packs of its kind of server alone: \
             name its application's database with `database`, or its packs with `packs`",
            source.upstream.as_str()
        )
    })
}

/// What to tell an operator whose source no pack fits.
pub(super) fn none_fits(settings: &SourceSettings, packs: &[Arc<Pack>]) -> String {
    if settings.upstream.database().is_none() {
        return format!(
            "no pack reads this {}: name one with `packs`, or name the application's database with `database`",
            settings.upstream.as_str()
        );
    }
    let wanted: Vec<String> = packs
        .iter()
        .filter(|pack| !pack.detect.is_empty())
        .map(|pack| format!("{} ({})", pack.app, pack.detect.join(", ")))
        .collect();
    format!(
        "no pack fits: none has all its tables in this database, as far as the role can see: {}. Name one with `packs`, or \
         write your own",
        wanted.join("; ")
    )
}

async fn detected(all: &[Arc<Pack>], database: &Arc<dyn Source>, gate: &Gate) -> Result<Vec<Arc<Pack>>, Failure> {
    let mut tables: Vec<String> = all.iter().flat_map(|pack| pack.detect.clone()).collect();
    tables.sort();
    tables.dedup();
    let permit = gate.enter().await?;
    let existing = database.existing_tables(&tables).await;
    gate.report(&existing);
    drop(permit);
    let existing = existing?;
    let fits = |pack: &&Arc<Pack>| !pack.detect.is_empty() && pack.detect.iter().all(|table| existing.contains(table));
    Ok(all.iter().filter(fits).cloned().collect())
}

/// What the application's database says of its packs.
#[derive(Default)]
struct Followed {
    names: Vec<String>,
    /// Whether they are known for good.
    settled: bool,
    /// Whether they are not known because the database cannot be asked.
    fails: bool,
}

fn followed(settings: &SourceSettings, context: &Context) -> Followed {
    let Some(name) = &settings.database else { return Followed { settled: true, ..Followed::default() } };
    let database = context.settings.sources.iter().find(|source| source.name == *name);
    if let Some(names) = database.and_then(|database| database.packs.clone()) {
        return Followed { names, settled: true, fails: false };
    }
    let status = context.board.update(|view| view.sources.get(name.as_str()).cloned()).unwrap_or_default();
    Followed { names: status.packs, settled: status.settled, fails: !status.settled && status.note.is_some() }
}
