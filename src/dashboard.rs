//! Dashboards as people write them, and the Grafana JSON that is made of them.
//!
//! A dashboard file is short and says what a panel shows; what every board needs (a header, variables, links, annotations, a grid) is
//! added here, so that all boards look and behave alike. Text in, text out: it reads no file and no clock, asks no Prometheus and no
//! Grafana, and the same text always makes the same bytes.

mod check;
mod field;
mod grafana;
mod header;
mod layout;
mod panel;
mod table;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::yaml::{self, Complaint};

pub use grafana::grafana;

/// One dashboard, as in `dashboards/<stem>.yaml`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    /// Grafana knows the dashboard by it for ever: `rowmetry-<stem>`, with `-` for `_`.
    pub uid: String,
    /// Name for people.
    pub title: String,
    /// One sentence: what it is for.
    pub description: String,
    /// The application whose dashboard it is: its header counts the alerts that bear this `app`.
    #[serde(default)]
    pub app: Option<String>,
    /// In place of `app`: the pack that is common to a kind of server. Its alerts begin with the pack's name.
    #[serde(default)]
    pub pack: Option<String>,
    /// A pattern of metrics' names, where collectors of several packs make what is shown: the header is about those that do, in place
    /// of those of `app` or `pack`.
    #[serde(default)]
    pub metrics: Option<String>,
    /// What can be chosen, beside the data source and the job.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// The panels, under the questions that they answer.
    pub rows: Vec<Row>,
    /// Metrics that neither a panel nor an alert uses, and why.
    #[serde(default)]
    pub not_shown: BTreeMap<String, String>,
}

/// Values of a label that can be chosen: one, several or all.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Queries use it as `label=~"$name"`.
    pub name: String,
    /// What people see; the name, unless set.
    #[serde(default)]
    pub title: Option<String>,
    /// The metric whose label it is.
    pub metric: String,
    /// The label.
    pub label: String,
}

/// A question and the panels that answer it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The question.
    pub title: String,
    /// Whether its panels are hidden until one asks for them.
    #[serde(default)]
    pub collapsed: bool,
    /// The answers.
    pub panels: Vec<Panel>,
}

/// One panel.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// Unique in its row.
    pub title: String,
    /// How it is drawn.
    pub kind: Kind,
    /// What one sees, and when to worry.
    pub description: String,
    /// A unit of Grafana's, by its id: `short`, `s`, `percentunit`, `bytes`, `currencyUSD`.
    #[serde(default)]
    pub unit: Option<String>,
    /// Places behind the decimal point.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub decimals: Option<u32>,
    /// Where the axis or the gauge begins.
    #[serde(default)]
    pub min: Option<f64>,
    /// Where it ends.
    #[serde(default)]
    pub max: Option<f64>,
    /// Columns of the grid, which has 24.
    #[serde(default)]
    #[schemars(range(min = 1, max = 24))]
    pub width: Option<u32>,
    /// Lines of the grid, about 38 pixels each.
    #[serde(default)]
    #[schemars(range(min = 2, max = 40))]
    pub height: Option<u32>,
    /// What is asked of Prometheus; in tables the first is A, the second B.
    #[serde(default)]
    pub queries: Vec<Query>,
    /// Colours by value, the first for everything below the second.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// Words and colours for single values; `"null"`, in quotes, stands for none.
    #[serde(default)]
    pub mappings: BTreeMap<String, Mapping>,
    /// Whether series stand upon each other.
    #[serde(default)]
    pub stack: bool,
    /// How much is filled below a line, of 100.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub fill: Option<u32>,
    /// Lines, unless set.
    #[serde(default)]
    pub draw: Option<Draw>,
    /// Whether the axis is logarithmic.
    #[serde(default)]
    pub log: bool,
    /// A list, unless set.
    #[serde(default)]
    pub legend: Option<Legend>,
    /// Colours of series by their legend's text, as a regular expression for the whole of it.
    #[serde(default)]
    pub colors: BTreeMap<String, String>,
    /// Columns of a table, in their order; everything else is hidden.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// How a table's rows are sorted.
    #[serde(default)]
    pub sort: Option<Sort>,
    /// The panel links to the section of this alert in the dashboard's runbook; `<stem>/<alert>` for one of another runbook.
    #[serde(default)]
    pub alert: Option<String>,
    /// What must happen before a healthy system has data here.
    #[serde(default)]
    pub empty_until: Option<String>,
    /// Markdown of a `text` panel; its description, unless set.
    #[serde(default)]
    pub content: Option<String>,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A number, now.
    Stat,
    /// A number on a dial.
    Gauge,
    /// Numbers as bars, one a series.
    Bargauge,
    /// Values over time.
    Timeseries,
    /// Numbers as columns, one a series, the largest first.
    Barchart,
    /// Parts of a whole.
    Piechart,
    /// Labels and values, one line for each set of labels.
    Table,
    /// A classic histogram over time.
    Heatmap,
    /// States over time.
    StateTimeline,
    /// Words.
    Text,
    /// Links to all dashboards of Rowmetry.
    Dashlist,
}

/// One query in PromQL.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The expression; every selector has `job=~"$job"`.
    pub expr: String,
    /// What a series is called, with `{{label}}`.
    #[serde(default)]
    pub legend: Option<String>,
    /// Whether only the value of now is asked for; depends on the panel's kind, unless set.
    #[serde(default)]
    pub instant: Option<bool>,
    /// Whether exemplars are shown, which lead to traces.
    #[serde(default)]
    pub exemplars: bool,
    /// Whether it is asked and not shown.
    #[serde(default)]
    pub hide: bool,
}

/// A colour, and the value from which on it is shown.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Missing in the first, which is the base.
    #[serde(default)]
    pub from: Option<f64>,
    /// A colour of Grafana's (`green`, `dark-red`), or `#rrggbb`.
    pub color: String,
}

/// What is shown in place of a value.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// In place of the number.
    #[serde(default)]
    pub text: Option<String>,
    /// In place of the colour.
    #[serde(default)]
    pub color: Option<String>,
}

/// How values over time are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// A line through all points.
    Lines,
    /// A bar for each point.
    Bars,
    /// Points alone.
    Points,
}

/// How series are named below a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Legend {
    /// Side by side.
    List,
    /// One a line, with last value, maximum and mean.
    Table,
    /// Not at all.
    Hidden,
}

/// A column of a table: a label, or the value of a query.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// A label of the result.
    #[serde(default)]
    pub label: Option<String>,
    /// In place of `label`: the letter of a query.
    #[serde(default)]
    pub query: Option<String>,
    /// The column's head.
    pub title: String,
    /// A unit of Grafana's, by its id.
    #[serde(default)]
    pub unit: Option<String>,
    /// Places behind the decimal point.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub decimals: Option<u32>,
    /// Colours of the cell by its value.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
    /// Words and colours for single values.
    #[serde(default)]
    pub mappings: BTreeMap<String, Mapping>,
    /// Width in pixels.
    #[serde(default)]
    #[schemars(range(min = 20, max = 2000))]
    pub width: Option<u32>,
    /// Where a click on the cell leads; `${__value.text}` is its text, `${__data.fields["Head"]}` the cell of another column.
    #[serde(default)]
    pub link: Option<String>,
    /// Whether the column only serves links and sorting.
    #[serde(default)]
    pub hide: bool,
}

/// How a table's rows are sorted.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sort {
    /// The head of the column.
    pub column: String,
    /// Whether the largest comes first.
    #[serde(default)]
    pub descending: bool,
}

/// Everything that is wrong with a dashboard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DashboardErrors(pub Vec<Complaint>);

impl fmt::Display for DashboardErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        yaml::list(&self.0, f)
    }
}

/// Reads a dashboard from its text.
///
/// # Errors
/// Everything that is wrong with it; `file` is the name in the messages.
pub fn parse(file: &str, text: &str) -> Result<Dashboard, DashboardErrors> {
    let mut tree = yaml::parse(file, text, true).map_err(|complaint| DashboardErrors(vec![complaint]))?;
    let dashboard: Dashboard = yaml::shape::read(file, &mut tree).map_err(DashboardErrors)?;
    let complaints = check::check(file, &tree, &dashboard);
    if complaints.is_empty() { Ok(dashboard) } else { Err(DashboardErrors(complaints)) }
}

impl Dashboard {
    /// The name of its file, of its runbook and of its alerts' file.
    pub fn stem(&self) -> String {
        match (&self.app, &self.pack) {
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => self.uid.strip_prefix("rowmetry-").unwrap_or(&self.uid).replace('-', "_"),
        }
    }
}

impl Kind {
    /// Whether it shows one value of each series, so that the value of now is enough.
    fn is_instant(self) -> bool {
        matches!(self, Kind::Stat | Kind::Gauge | Kind::Bargauge | Kind::Barchart | Kind::Piechart | Kind::Table)
    }

    /// Whether it asks Prometheus anything.
    fn has_queries(self) -> bool {
        !matches!(self, Kind::Text | Kind::Dashlist)
    }

    /// Grafana's name for it, and ours.
    fn name(self) -> &'static str {
        match self {
            Kind::Stat => "stat",
            Kind::Gauge => "gauge",
            Kind::Bargauge => "bargauge",
            Kind::Timeseries => "timeseries",
            Kind::Barchart => "barchart",
            Kind::Piechart => "piechart",
            Kind::Table => "table",
            Kind::Heatmap => "heatmap",
            Kind::StateTimeline => "state-timeline",
            Kind::Text => "text",
            Kind::Dashlist => "dashlist",
        }
    }
}

#[cfg(test)]
mod tests;
