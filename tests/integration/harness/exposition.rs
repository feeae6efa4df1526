//! What a scrape said: text format 0.0.4 read into a map from series to value.
//!
//! It reads strictly and knows nothing of how Rowmetry writes.

use std::collections::BTreeMap;

/// How metrics of servers' packs begin.
const OF_SERVERS: [&str; 4] = ["pg_", "rowmetry_pg_", "redis_", "pgbouncer_"];

/// The series of one scrape. A key is `name{a="x",b="y"}`, labels sorted by name; without labels the bare name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    /// Series and value.
    pub series: BTreeMap<String, f64>,
    /// Family and type, as the `# TYPE` lines say.
    pub types: BTreeMap<String, String>,
}

impl Scrape {
    /// Reads a reply's body. Anything unusual is an error: a family that comes twice, a series that comes twice, a
    /// sample of a family without a type.
    pub fn parse(text: &str) -> Result<Scrape, String> {
        let mut scrape = Scrape::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# TYPE ") {
                let (name, kind) = comment.split_once(' ').ok_or_else(|| format!("bad type line: {line}"))?;
                if scrape.types.insert(name.into(), kind.into()).is_some() {
                    return Err(format!("family {name} comes twice"));
                }
            } else if !line.starts_with('#') {
                let (key, value) = sample(line).ok_or_else(|| format!("bad sample line: {line}"))?;
                if !scrape.has_type(&key) {
                    return Err(format!("a sample without a # TYPE line before it: {line}"));
                }
                if scrape.series.insert(key.clone(), value).is_some() {
                    return Err(format!("series {key} comes twice"));
                }
            }
        }
        Ok(scrape)
    }

    fn has_type(&self, key: &str) -> bool {
        let name = name_of(key);
        let parts = ["_bucket", "_sum", "_count"];
        self.types.contains_key(name)
            || parts
                .iter()
                .filter_map(|part| name.strip_suffix(part))
                .any(|family| self.types.get(family).is_some_and(|kind| kind == "histogram"))
    }

    /// The value of a series, its labels in any order. Series of servers always bear their source: where there is one server alone,
    /// it need not be named.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        if let Some(value) = self.series.get(&key(name, labels)) {
            return Some(*value);
        }
        let labels: Vec<(&str, &str)> = labels.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
        let is_of_a_server = OF_SERVERS.iter().any(|start| name.starts_with(start));
        let has_source = labels.iter().any(|(label, _)| *label == "source");
        if !is_of_a_server || has_source {
            return None;
        }
        let source = |of: &str| Some(of.split_once("source=\"")?.1.split_once('"')?.0.to_owned());
        let with_source = |of: &str| Some(key(name, &[&labels[..], &[("source", source(of)?.as_str())]].concat()));
        let mut fitting = self.of(name, &labels).filter(|(of, _)| with_source(of).as_deref() == Some(*of));
        match (fitting.next(), fitting.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// The sum over the series of a name whose labels include all of these.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|(_, value)| value).sum()
    }

    /// The series of a name whose labels include all of these.
    pub fn of<'s>(&'s self, name: &'s str, labels: &'s [(&str, &str)]) -> impl Iterator<Item = (&'s str, f64)> {
        self.series.iter().map(|(key, value)| (key.as_str(), *value)).filter(move |(key, _)| {
            name_of(key) == name && labels.iter().all(|(label, value)| key.contains(&pair(label, value)))
        })
    }

    /// The series that only ever grow: counters, and the buckets and counts of histograms.
    pub fn growing(&self) -> impl Iterator<Item = (&str, f64)> {
        self.series.iter().map(|(key, value)| (key.as_str(), *value)).filter(|(key, _)| {
            let name = name_of(key);
            let histogram = |part: &str| {
                name.strip_suffix(part)
                    .is_some_and(|family| self.types.get(family).is_some_and(|kind| kind == "histogram"))
            };
            self.types.get(name).is_some_and(|kind| kind == "counter") || histogram("_bucket") || histogram("_count")
        })
    }
}

/// The key of a series.
pub fn key(name: &str, labels: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> =
        labels.iter().filter(|(_, value)| !value.is_empty()).map(|(label, value)| pair(label, value)).collect();
    pairs.sort();
    if pairs.is_empty() { name.to_string() } else { format!("{name}{{{}}}", pairs.join(",")) }
}

/// The metric name of a key.
pub fn name_of(key: &str) -> &str {
    key.split('{').next().unwrap_or(key)
}

/// The key with its bound written one way: `le="1.0"` and `le="1"` are the same.
pub fn plain_bounds(key: &str) -> String {
    let Some((before, after)) = key.split_once("le=\"") else { return key.to_string() };
    match after.split_once('"') {
        Some((bound, rest)) if before.ends_with(['{', ',']) => {
            format!("{before}le=\"{}\"{rest}", bound.strip_suffix(".0").unwrap_or(bound))
        }
        _ => key.to_string(),
    }
}

fn pair(label: &str, value: &str) -> String {
    format!("{label}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn sample(line: &str) -> Option<(String, f64)> {
    let name_end = line.find(['{', ' '])?;
    let name = &line[..name_end];
    let mut rest = &line[name_end..];
    let mut pairs = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        let mut inner = inner;
        while !inner.starts_with('}') {
            let (label, after) = inner.split_once("=\"")?;
            let end = closing_quote(after)?;
            pairs.push(format!("{label}=\"{}\"", &after[..end]));
            inner = &after[end + 1..];
            inner = inner.strip_prefix(',').unwrap_or(inner);
        }
        rest = &inner[1..];
    }
    pairs.sort();
    let value = match rest.trim() {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number.parse().ok()?,
    };
    let key = if pairs.is_empty() { name.to_string() } else { format!("{name}{{{}}}", pairs.join(",")) };
    Some((key, value))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(index),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_format_allows_and_refuses_what_it_does_not() {
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total{z=\"1\",k=\"x,\\\"y\\\\\\n}\"} 3\na_total 4.5e3\n\
                    # TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum +Inf\nh_count 2\n# TYPE g gauge\ng NaN\n";
        let scrape = Scrape::parse(text).expect("it is good");
        assert_eq!(scrape.get("a_total", &[("k", "x,\"y\\\n}"), ("z", "1")]), Some(3.0));
        assert_eq!(scrape.get("a_total", &[]), Some(4500.0));
        assert_eq!(scrape.sum("a_total", &[("z", "1")]), 3.0);
        assert_eq!(scrape.get("h_sum", &[]), Some(f64::INFINITY));
        assert!(scrape.series["g"].is_nan());
        let growing: Vec<&str> = scrape.growing().map(|(key, _)| name_of(key)).collect();
        assert_eq!(growing, ["a_total", "a_total", "h_bucket", "h_count"]);
        for bad in [
            "a_total 1\n",
            "# TYPE a counter\na 1\na 1\n",
            "# TYPE a counter\n# TYPE a counter\n",
            "# TYPE a counter\na{x=\"1} 1\n",
            "# TYPE a counter\na one\n",
            "# TYPE a counter\na_bucket{le=\"1\"} 1\n",
        ] {
            assert!(Scrape::parse(bad).is_err(), "{bad}");
        }
    }
}
