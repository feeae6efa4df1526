//! `rowmetry state …`: look at what was counted, or begin anew. It needs the state to itself.

use anyhow::{Context as _, bail};
use serde_json::json;

use crate::collector::cursor::Cursor;
use crate::config::Settings;
use crate::state::{Listed, State};

async fn open(settings: &Settings) -> anyhow::Result<State> {
    let Some(directory) = &settings.state_dir else {
        bail!("there is no state directory: name it with --state-dir, ROWMETRY_STATE_DIR or `state_dir`");
    };
    if !directory.exists() {
        bail!("there is no {} yet; it is made at the first start", directory.display());
    }
    Ok(State::open(Some(directory)).await?)
}

/// Prints every collector in the state.
///
/// # Errors
/// When the state cannot be used.
pub async fn list_state(settings: &Settings, as_json: bool) -> anyhow::Result<String> {
    let listed = open(settings).await?.list().await?;
    if as_json {
        let lines: Vec<_> = listed
            .iter()
            .map(|line| {
                json!({
                    "collector": line.collector, "series": line.series, "seen_keys": line.seen, "queued_spans": line.spans,
                    "updated": instant(line.updated),
                    "cursor": serde_json::from_str::<serde_json::Value>(&line.cursor).unwrap_or_default(),
                })
            })
            .collect();
        return serde_json::to_string_pretty(&lines).map(|text| text + "\n").context("the list cannot be written");
    }
    let width = listed.iter().map(|line| line.collector.len()).max().unwrap_or(9).max(9);
    let mut text = format!(
        "{:width$}  {:>10}  {:>8}  {:>9}  {:>8}  last written\n",
        "collector", "rows", "series", "seen keys", "spans"
    );
    for Listed { collector, updated, series, seen, spans, cursor } in &listed {
        let rows = serde_json::from_str::<Cursor>(cursor).map_or("-".to_owned(), |cursor| cursor.counted.to_string());
        text += &format!("{collector:width$}  {rows:>10}  {series:>8}  {seen:>9}  {spans:>8}  {}\n", instant(*updated));
    }
    Ok(text)
}

/// Forgets what the collectors that an id names counted, so that they begin anew. Returns what to tell.
///
/// # Errors
/// When the state cannot be used, or there is no such collector.
pub async fn reset_state(settings: &Settings, id: &str) -> anyhow::Result<String> {
    let state = open(settings).await?;
    let mut text = String::new();
    let mut waiting = 0;
    for Listed { collector, series, seen, spans, .. } in named(&state, id).await? {
        state.reset(&collector).await?;
        waiting += spans;
        text += &format!("forgot {collector}: {series} series, {seen} seen keys\n");
    }
    text += "Their counts begin anew at 0 at the next start, as `start` says.\n";
    if text.contains("/drain/lines: ") {
        text += "Of a drain, `…/drain/lines` is no count: it is the lines that came lately, and the place in a file. Lines that are \
                 delivered again count again, and a file is followed from its present end.\n";
    }
    if waiting > 0 {
        text += &format!("{waiting} spans that wait are sent still; `rowmetry state forget` drops those too.\n");
    }
    Ok(text)
}

/// Forgets all that is kept of the collectors that an id names. Returns what to tell.
///
/// # Errors
/// When the state cannot be used, or there is no such collector.
pub async fn forget_state(settings: &Settings, id: &str) -> anyhow::Result<String> {
    let state = open(settings).await?;
    let mut text = String::new();
    for Listed { collector, series, seen, spans, .. } in named(&state, id).await? {
        state.forget(&collector).await?;
        text += &format!("forgot {collector}: {series} series, {seen} seen keys, {spans} spans that waited\n");
    }
    Ok(text)
}

/// The collectors that an id names; there is one at least.
async fn named(state: &State, id: &str) -> anyhow::Result<Vec<Listed>> {
    let within = format!("{}/", id.trim_end_matches('/'));
    let mut all = state.list().await?;
    all.retain(|line| line.collector == id || line.collector.starts_with(&within));
    if all.is_empty() {
        bail!("the state has no {id}; `rowmetry state list` shows what it has");
    }
    Ok(all)
}

fn instant(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}
