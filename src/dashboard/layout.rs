//! Where panels stand in Grafana's grid of 24 columns.
//!
//! Panels keep their order: each takes the highest free place, and of those the leftmost. It knows sizes and no contents.

use super::{Kind, Panel};

/// Columns of the grid.
pub(super) const COLUMNS: u32 = 24;
/// Lines by which a panel may grow to fill a hole: a number beside a chart does.
const NEAR: u32 = 4;

/// A place in the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The places of a row's panels, from line `top` on, and the first line below them all.
pub(super) fn places(panels: &[Panel], top: u32) -> (Vec<Place>, u32) {
    let sizes = sizes(panels);
    let mut skyline = [top; COLUMNS as usize];
    let mut places = Vec::with_capacity(panels.len());
    for (width, height) in sizes {
        let (mut best_x, mut best_y) = (0, u32::MAX);
        for x in 0..=(COLUMNS - width) {
            let under = &skyline[x as usize..(x + width) as usize];
            let y = under.iter().copied().max().unwrap_or(top);
            if y < best_y {
                (best_x, best_y) = (x, y);
            }
        }
        skyline[best_x as usize..(best_x + width) as usize].fill(best_y + height);
        places.push(Place { x: best_x, y: best_y, width, height });
    }
    let below = skyline.into_iter().max().unwrap_or(top);
    grow(panels, &mut places, below);
    (places, below)
}

/// Panels whose heights were not said reach down to what stands below them, where that is near: a low one beside a high one leaves no
/// hole.
fn grow(panels: &[Panel], places: &mut [Place], below: u32) {
    for index in 0..places.len() {
        let own = places[index];
        if panels[index].height.is_some() {
            continue;
        }
        let next = places
            .iter()
            .filter(|other| {
                other.y >= own.y + own.height && other.x < own.x + own.width && own.x < other.x + other.width
            })
            .map(|other| other.y)
            .min()
            .unwrap_or(below);
        if next - own.y <= own.height + NEAR {
            places[index].height = next - own.y;
        }
    }
}

/// Width and height of each panel. A line of equally high panels that leaves columns free is spread over them, as far as their
/// widths were not said and at most to the double.
fn sizes(panels: &[Panel]) -> Vec<(u32, u32)> {
    let mut sizes: Vec<(u32, u32)> = panels.iter().map(|panel| (width(panel), height(panel))).collect();
    let mut start = 0;
    while start < panels.len() {
        let mut end = start;
        let mut used = 0;
        while end < panels.len() && used + sizes[end].0 <= COLUMNS {
            used += sizes[end].0;
            end += 1;
        }
        // A panel that is as wide as it can be said to be always fits, so the line has one.
        let end = end.max(start + 1);
        let is_even = sizes[start..end].iter().all(|(_, height)| *height == sizes[start].1);
        if is_even {
            spread(&panels[start..end], &mut sizes[start..end], COLUMNS.saturating_sub(used));
        }
        start = end;
    }
    sizes
}

fn spread(panels: &[Panel], sizes: &mut [(u32, u32)], mut free: u32) {
    loop {
        let mut grew = false;
        for (panel, (width, _)) in panels.iter().zip(sizes.iter_mut()) {
            if free > 0 && panel.width.is_none() && *width < 2 * default_width(panel.kind) {
                *width += 1;
                free -= 1;
                grew = true;
            }
        }
        if !grew {
            return;
        }
    }
}

fn width(panel: &Panel) -> u32 {
    panel.width.unwrap_or(default_width(panel.kind)).clamp(1, COLUMNS)
}

fn default_width(kind: Kind) -> u32 {
    match kind {
        Kind::Stat | Kind::Gauge => 4,
        _ => 12,
    }
}

fn height(panel: &Panel) -> u32 {
    panel.height.unwrap_or(match panel.kind {
        Kind::Stat | Kind::Gauge => 4,
        _ => 8,
    })
}
