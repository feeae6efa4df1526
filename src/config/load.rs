//! From a file, the environment and the command line to [`Settings`]: everything that is wrong is told at once.
//!
//! What stands on the command line goes before the environment, and that before the file. No message repeats what a
//! variable holds, or a URL with its password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::raw::{RawConfig, RawDrain, RawSource};
use super::{DrainKind, Settings, fill, validate};
use crate::pack::{self, Pack, PackErrors, Reads};
use crate::yaml::{self, Complaint, Node, Value};

/// What stands for the file's name in complaints about variables and flags.
pub(super) const ENVIRONMENT: &str = "environment";

/// What the command line and its environment variables say; it goes before the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// In place of `listen`.
    pub listen: Option<String>,
    /// In place of `state_dir`.
    pub state_dir: Option<PathBuf>,
    /// In place of every source's `interval`.
    pub interval: Option<Duration>,
}

/// Everything that is wrong with the configuration and the packs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<Complaint>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        yaml::list(&self.0, f)
    }
}

/// Reads the configuration. `variable` looks up an environment variable.
///
/// # Errors
/// Everything that is wrong, each with file, line and a mend.
pub fn load(overrides: &Overrides, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings, ConfigErrors> {
    let mut draft = match &overrides.config {
        Some(path) => {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| one(&file, format!("cannot be read: {error}")))?;
            read(&file, &text, variable)?
        }
        None => Draft::empty(),
    };
    if draft.raw.sources.is_empty() && draft.complaints.is_empty() {
        match sources_from_environment(variable) {
            Ok(sources) => draft.raw.sources.extend(sources),
            Err(ConfigErrors(complaints)) => draft.complaints.extend(complaints),
        }
    }
    if overrides.config.is_none() {
        let (drains, complaints) = drains_from_environment(variable, &draft.raw.sources);
        draft.raw.logs.drains.extend(drains);
        draft.complaints.extend(complaints);
    }
    let packs = packs(&mut draft);
    validate::settings(draft, packs, overrides, variable).map_err(ConfigErrors)
}

/// Every pack there is; none when one is wrong or missing, which is told then.
fn packs(draft: &mut Draft) -> Option<Vec<Arc<Pack>>> {
    let told = draft.complaints.len();
    let mut own = Vec::new();
    for (index, path) in draft.raw.packs.iter().enumerate() {
        if Path::new(path).exists() {
            own.push(PathBuf::from(path));
            continue;
        }
        // The path as the file has it: a variable in it may hold anything.
        let step = index.to_string();
        let written = match draft.tree.at(&["packs", &step]).map(|node| &node.value) {
            Some(Value::Filled { written, .. }) => written,
            _ => path,
        };
        draft.complaints.push(Complaint {
            file: draft.file.clone(),
            line: draft.tree.line_of(&["packs", &step]),
            place: format!("packs[{index}]"),
            message: format!("there is no file or folder {}", validate::quoted(written)),
        });
    }
    match pack::load::all(&own) {
        Ok(packs) => Some(packs).filter(|_| draft.complaints.len() == told),
        Err(PackErrors(complaints)) => {
            draft.complaints.extend(complaints);
            None
        }
    }
}

/// A configuration on its way: what could be read, the tree for the lines, and what is wrong so far.
pub(super) struct Draft {
    pub(super) file: String,
    pub(super) tree: Node,
    pub(super) raw: RawConfig,
    pub(super) complaints: Vec<Complaint>,
    /// Lines with a variable that could not be put in: nothing more is to be said of them.
    pub(super) unfilled: Vec<Option<u64>>,
}

impl Draft {
    fn empty() -> Self {
        let tree = Node { line: 0, value: Value::Map(Vec::new()) };
        Draft {
            file: ENVIRONMENT.into(),
            tree,
            raw: RawConfig::default(),
            complaints: Vec::new(),
            unfilled: Vec::new(),
        }
    }
}

fn read(file: &str, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Draft, ConfigErrors> {
    let mut tree = yaml::parse(file, text, false).map_err(|complaint| ConfigErrors(vec![complaint]))?;
    if tree.value == Value::Null {
        tree.value = Value::Map(Vec::new());
    }
    let mut complaints = fill::fill(file, &mut tree, variable);
    let unfilled: Vec<Option<u64>> = complaints.iter().map(|complaint| complaint.line).collect();
    let (raw, unfit) = yaml::shape::read_what_fits::<RawConfig>(file, &mut tree);
    complaints.extend(unfit.into_iter().filter(|complaint| !unfilled.contains(&complaint.line)));
    Ok(Draft { file: file.into(), tree, raw: raw.unwrap_or_default(), complaints, unfilled })
}

/// A variable that names a source.
struct SourceVariable {
    name: &'static str,
    /// The variable of its token.
    token: Option<&'static str>,
    /// The name of the source.
    source: &'static str,
    /// What it must be: a pooled database under another's name would be counted twice.
    reads: Reads,
    /// What to write in place of anything else.
    wanted: &'static str,
}

/// The sources that well-known variables name.
const ENVIRONMENT_SOURCES: [SourceVariable; 5] = [
    SourceVariable {
        name: "DATABASE_URL",
        token: None,
        source: "default",
        reads: Reads::Database,
        wanted: "postgres://… or the path of an SQLite file",
    },
    SourceVariable {
        name: "REDIS_URL",
        token: None,
        source: "redis",
        reads: Reads::Redis,
        wanted: "redis://… or rediss://…; the https:// URL of a Redis goes into UPSTASH_REDIS_REST_URL",
    },
    SourceVariable {
        name: "UPSTASH_REDIS_REST_URL",
        token: Some("UPSTASH_REDIS_REST_TOKEN"),
        source: "redis",
        reads: Reads::Redis,
        wanted: "https://…",
    },
    SourceVariable {
        name: "PGBOUNCER_URL",
        token: None,
        source: "pgbouncer",
        reads: Reads::Pgbouncer,
        wanted: "the URL of its admin console, which ends in /pgbouncer; a database that is read through it is DATABASE_URL",
    },
    SourceVariable {
        name: "HEALTH_URL",
        token: None,
        source: "health",
        reads: Reads::Http,
        wanted: "http://… or https://…",
    },
];

fn sources_from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<RawSource>, ConfigErrors> {
    let given = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
    let mut sources: Vec<RawSource> = Vec::new();
    let mut complaints = Vec::new();
    for SourceVariable { name, token, source, reads, wanted } in ENVIRONMENT_SOURCES {
        // Both ways to one Redis may be given; one is enough, and RESP is the quicker one.
        let Some(url) = given(name).filter(|_| sources.iter().all(|other| other.name != source)) else { continue };
        let secret = token.and_then(given);
        if let Some(token) = token.filter(|_| secret.is_none()) {
            complaints.push(complaint(ENVIRONMENT, name, format!("its token is missing: set {token} too")));
            continue;
        }
        match super::address::recognise(&SecretString::from(url.clone()), secret.is_some()) {
            Err(message) => complaints.push(complaint(ENVIRONMENT, name, message)),
            Ok((upstream, _)) if upstream.reads() != reads => {
                let message =
                    format!("this is the URL of another kind of source ({}); expected {wanted}", upstream.as_str());
                complaints.push(complaint(ENVIRONMENT, name, message));
            }
            Ok(_) => sources.push(RawSource {
                name: source.into(),
                url: Some(SecretString::from(url)),
                token: secret.map(SecretString::from),
                ..RawSource::default()
            }),
        }
    }
    if complaints.is_empty() { Ok(sources) } else { Err(ConfigErrors(complaints)) }
}

/// A variable that opens a drain.
struct DrainVariable {
    /// The variable of its secret or token: nobody else may post there.
    name: &'static str,
    /// The variable of the code that is asked for when the drain is made.
    verify: Option<&'static str>,
    /// The name of the drain, which is posted to at `/drains/` and this.
    drain: &'static str,
    kind: DrainKind,
}

/// The drains that variables open.
const ENVIRONMENT_DRAINS: [DrainVariable; 2] = [
    DrainVariable {
        name: "VERCEL_DRAIN_SECRET",
        verify: Some("VERCEL_DRAIN_VERIFY"),
        drain: "vercel",
        kind: DrainKind::Vercel,
    },
    DrainVariable { name: "ROWMETRY_DRAIN_TOKEN", verify: None, drain: "logs", kind: DrainKind::Http },
];

/// They follow the database that a variable names, since nothing else could say which packs count their lines.
fn drains_from_environment(
    variable: &dyn Fn(&str) -> Option<String>,
    sources: &[RawSource],
) -> (Vec<RawDrain>, Vec<Complaint>) {
    let given = |name: &str| variable(name).filter(|text| !text.trim().is_empty()).map(SecretString::from);
    let mut drains = Vec::new();
    let mut complaints = Vec::new();
    let is_database = |source: &RawSource| source.name == ENVIRONMENT_SOURCES[0].source;
    let has_database = sources.iter().any(is_database);
    for DrainVariable { name, verify, drain, kind } in ENVIRONMENT_DRAINS {
        let Some(held) = given(name) else {
            if let Some(verify) = verify.filter(|verify| given(verify).is_some()) {
                complaints.push(complaint(ENVIRONMENT, verify, format!("its secret is missing: set {name} too")));
            }
            continue;
        };
        if !has_database {
            let message = "nothing says which packs count these lines: set DATABASE_URL too, or name them by `packs` of a drain in a \
                           file given by --config";
            complaints.push(complaint(ENVIRONMENT, name, message.to_owned()));
            continue;
        }
        let (secret, token) = if kind == DrainKind::Vercel { (Some(held), None) } else { (None, Some(held)) };
        drains.push(RawDrain {
            name: drain.into(),
            kind: Some(kind.as_str().into()),
            secret,
            token,
            verify: verify.and_then(given),
            ..RawDrain::default()
        });
    }
    (drains, complaints)
}

fn one(file: &str, message: String) -> ConfigErrors {
    ConfigErrors(vec![complaint(file, "", message)])
}

fn complaint(file: &str, place: &str, message: String) -> Complaint {
    Complaint { file: file.into(), line: None, place: place.into(), message }
}

#[cfg(test)]
mod tests;
