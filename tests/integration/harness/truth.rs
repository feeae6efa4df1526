//! What the database says the series must be, asked in plain SQL by another road than the exporter's.
//!
//! Equality is exact: the same series, the same values, no tolerance.

use std::collections::BTreeMap;

use super::cluster::Database;
use super::exposition::{Scrape, key, name_of, plain_bounds};

/// The series that an application's metrics must have.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    prefix: String,
    series: BTreeMap<String, f64>,
}

impl Truth {
    /// Speaks for every series whose name begins so.
    pub fn about(prefix: &str) -> Truth {
        Truth { prefix: prefix.into(), series: BTreeMap::new() }
    }

    /// One series for each row of `select label…, value`.
    pub async fn query(mut self, database: &Database<'_>, name: &str, labels: &[&str], sql: &str) -> Truth {
        for row in database.rows(sql).await {
            let (value, cells) = row.split_last().expect("the value is the last column");
            let pairs: Vec<(&str, &str)> =
                labels.iter().zip(cells).map(|(label, cell)| (*label, cell.as_deref().unwrap_or_default())).collect();
            assert_eq!(cells.len(), labels.len(), "{sql}");
            if let Some(value) = value {
                let value = value.parse().unwrap_or_else(|_| panic!("{value} is not a number, in: {sql}"));
                self.series.insert(key(name, &pairs), value);
            }
        }
        self
    }

    /// A histogram by one label: `from` is a table or subquery, `value` an expression over it. NULL, NaN and the
    /// infinities are no observations.
    pub async fn histogram(
        self,
        database: &Database<'_>,
        name: &str,
        label: &str,
        buckets: &[&str],
        value: &str,
        from: &str,
    ) -> Truth {
        let rows = format!(
            "(select {label}::text as label, ({value})::text::numeric as v from {from} \
             where ({value})::text not in ('NaN', 'Infinity', '-Infinity')) x"
        );
        let mut cells = String::new();
        for bound in buckets {
            cells.push_str(&format!("('{bound}', {bound}::numeric), "));
        }
        let bucket = format!(
            "select label, le, count(*) filter (where bound is null or v <= bound) from {rows} \
             cross join (values {cells} ('+Inf', null)) b (le, bound) group by 1, 2"
        );
        self.query(database, &format!("{name}_bucket"), &[label, "le"], &bucket)
            .await
            .query(
                database,
                &format!("{name}_count"),
                &[label],
                &format!("select label, count(*) from {rows} group by 1"),
            )
            .await
            .query(database, &format!("{name}_sum"), &[label], &format!("select label, sum(v) from {rows} group by 1"))
            .await
    }

    /// The value of a series, if the truth has it.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.series.get(&key(name, labels)).copied()
    }

    /// All of it.
    pub fn into_series(self) -> BTreeMap<String, f64> {
        self.series
    }

    /// Whether a scrape says just this.
    ///
    /// # Errors
    /// The first few differences.
    pub fn compare(&self, scrape: &Scrape) -> Result<(), String> {
        let spoken_for = |series: &str| name_of(series).starts_with(&self.prefix);
        let mut differences = Vec::new();
        let said: BTreeMap<String, f64> =
            scrape.series.iter().map(|(series, value)| (plain_bounds(series), *value)).collect();
        for (series, truth) in &self.series {
            match said.get(series) {
                None => differences.push(format!("{series} is missing, in truth {truth}")),
                Some(value) if value != truth => differences.push(format!("{series} is {value}, in truth {truth}")),
                Some(_) => {}
            }
        }
        for (series, value) in said.iter().filter(|(series, _)| spoken_for(series)) {
            // A series at 0 says the same as none.
            if *value != 0.0 && !self.series.contains_key(series) {
                differences.push(format!("{series} is {value}, in truth there is none"));
            }
        }
        let total = differences.len();
        differences.truncate(8);
        if total == 0 { Ok(()) } else { Err(format!("{total} differences: {}", differences.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cluster;
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_kind_of_difference_is_told() {
        let database = Cluster::shared().database().await;
        database
            .run(
                "create table t (kind text, v float8); insert into t values ('a', 0.5), ('a', 1.5), ('a', 'NaN'), \
                 ('b', 9), (null, null)",
            )
            .await;
        let truth = Truth::about("t_")
            .query(&database, "t_total", &["kind"], "select kind, count(*) from t group by 1")
            .await
            .histogram(&database, "t_size", "kind", &["0.5", "1"], "v", "t")
            .await;
        let text = "# TYPE t_total counter\nt_total{kind=\"a\"} 3\nt_total{kind=\"b\"} 1\nt_total 1\n# TYPE t_size histogram\n\
            t_size_bucket{kind=\"a\",le=\"0.5\"} 1\nt_size_bucket{kind=\"a\",le=\"1\"} 1\nt_size_bucket{kind=\"a\",le=\"+Inf\"} 2\n\
            t_size_sum{kind=\"a\"} 2\nt_size_count{kind=\"a\"} 2\nt_size_bucket{kind=\"b\",le=\"0.5\"} 0\n\
            t_size_bucket{kind=\"b\",le=\"1\"} 0\nt_size_bucket{kind=\"b\",le=\"+Inf\"} 1\nt_size_sum{kind=\"b\"} 9\n\
            t_size_count{kind=\"b\"} 1\n# TYPE other gauge\nother 5\n";
        let compare = |text: &str| truth.compare(&Scrape::parse(text).expect("it is good"));
        assert_eq!(compare(text), Ok(()));
        for (from, to) in [
            ("t_total{kind=\"a\"} 3", "t_total{kind=\"a\"} 4"),
            ("t_total 1\n", ""),
            ("t_total 1\n", "t_total 1\nt_total{kind=\"c\"} 1\n"),
            ("le=\"0.5\"} 1", "le=\"0.5\"} 2"),
            ("t_size_sum{kind=\"a\"} 2", "t_size_sum{kind=\"a\"} 2.0000000001"),
        ] {
            assert!(text.contains(from));
            assert!(compare(&text.replace(from, to)).is_err(), "{to}");
        }
    }
}
