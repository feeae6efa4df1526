//! What a PromQL expression reads and what labels its result can bear, and what cannot be right about it.
//!
//! Labels flow from the selectors outwards; an expression that asks for a label which nothing beneath bears never answers. Nothing
//! here evaluates anything.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher, Matchers};
use promql_parser::parser::{
    self, AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
};

pub type Labels = BTreeSet<String>;

/// Every metric that can be asked for, and the labels that its series may bear.
pub type Known = BTreeMap<String, Labels>;

/// What an expression is made of.
#[derive(Debug, Default)]
pub struct Findings {
    /// The metrics that it reads.
    pub metrics: BTreeSet<String>,
    /// The labels that its result may bear; none for a number.
    pub labels: Option<Labels>,
    /// What cannot be right.
    pub complaints: Vec<String>,
    /// The metrics whose increase it asks for.
    pub counted: BTreeSet<String>,
    /// Values that labels are compared with: metric, label, and each value, those between the bars of a pattern by themselves.
    pub values: Vec<(String, String, String)>,
    /// Selectors without a matcher on `job`.
    pub without_job: Vec<String>,
    /// Numbers that something is compared with.
    pub compared_with: Vec<f64>,
    /// The shortest range, in seconds, that `rate` and the like look at.
    pub shortest_range: Option<u64>,
}

/// Reads an expression in which Grafana's variables may stand.
pub fn look_at(text: &str, known: &Known) -> Findings {
    let mut found = Findings::default();
    let text = filled(text);
    match parser::parse(&text) {
        Ok(expr) => found.labels = found.follow(&expr, known),
        Err(error) => found.complaints.push(format!("it cannot be read: {error}")),
    }
    found
}

/// With values in place of Grafana's own variables; those of a dashboard stand in texts, where anything may.
pub fn filled(text: &str) -> String {
    text.replace("$__rate_interval", "5m").replace("$__interval", "1m").replace("$__range", "6h")
}

impl Findings {
    fn follow(&mut self, expr: &Expr, known: &Known) -> Option<Labels> {
        match expr {
            Expr::VectorSelector(selector) => Some(self.selector(selector, known)),
            Expr::MatrixSelector(matrix) => {
                let range = matrix.range.as_secs();
                self.shortest_range = Some(self.shortest_range.map_or(range, |shortest| shortest.min(range)));
                Some(self.selector(&matrix.vs, known))
            }
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, known),
            Expr::Binary(binary) => self.binary(binary, known),
            Expr::Call(call) => self.call(call, known),
            Expr::Paren(paren) => self.follow(&paren.expr, known),
            Expr::Unary(unary) => self.follow(&unary.expr, known),
            Expr::Subquery(subquery) => {
                let range = subquery.range.as_secs();
                self.shortest_range = Some(self.shortest_range.map_or(range, |shortest| shortest.min(range)));
                self.follow(&subquery.expr, known)
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => None,
            Expr::Extension(_) => {
                self.complaints.push("it has a part that Prometheus does not know".into());
                None
            }
        }
    }

    fn selector(&mut self, selector: &VectorSelector, known: &Known) -> Labels {
        let Some(name) = &selector.name else {
            self.complaints.push(format!("{selector} names no metric"));
            return Labels::new();
        };
        let Some(labels) = known.get(name) else {
            self.complaints.push(format!("there is no metric {name}"));
            return Labels::new();
        };
        self.metrics.insert(name.clone());
        for matcher in matchers(&selector.matchers) {
            if !labels.contains(&matcher) {
                self.complaints.push(format!("{name} has no label {matcher}"));
            }
        }
        for matcher in &selector.matchers.matchers {
            for value in words(matcher) {
                self.values.push((name.clone(), matcher.name.clone(), value));
            }
        }
        if !matchers(&selector.matchers).any(|label| label == "job") {
            self.without_job.push(name.clone());
        }
        // A label that must be empty is one that the result does not bear.
        let empty: Labels = selector
            .matchers
            .matchers
            .iter()
            .filter(|matcher| matches!(matcher.op, MatchOp::Equal) && matcher.value.is_empty())
            .map(|matcher| matcher.name.clone())
            .collect();
        labels.difference(&empty).cloned().collect()
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr, known: &Known) -> Option<Labels> {
        let inner = self.follow(&aggregate.expr, known).unwrap_or_default();
        if let Some(parameter) = &aggregate.param {
            self.follow(parameter, known);
        }
        let op = aggregate.op.to_string();
        let mut labels = match &aggregate.modifier {
            Some(LabelModifier::Include(by)) => {
                let by: Labels = by.labels.iter().cloned().collect();
                for missing in by.difference(&inner) {
                    self.complaints.push(format!("`{op} by` asks for {missing}, which nothing beneath it bears"));
                }
                by
            }
            Some(LabelModifier::Exclude(without)) => {
                inner.iter().filter(|label| !without.labels.contains(label)).cloned().collect()
            }
            None => Labels::new(),
        };
        if ["topk", "bottomk", "limitk", "limit_ratio"].contains(&op.as_str()) {
            labels = inner;
        } else if op == "count_values"
            && let Some(Expr::StringLiteral(label)) = aggregate.param.as_deref()
        {
            labels.insert(label.val.clone());
        }
        Some(labels)
    }

    fn call(&mut self, call: &Call, known: &Known) -> Option<Labels> {
        let arguments: Vec<Option<Labels>> =
            call.args.args.iter().map(|argument| self.follow(argument, known)).collect();
        let text = |index: usize| match call.args.args.get(index).map(|argument| &**argument) {
            Some(Expr::StringLiteral(text)) => text.val.clone(),
            _ => String::new(),
        };
        let vector = arguments.iter().flatten().next().cloned();
        if ["rate", "irate", "increase"].contains(&call.func.name)
            && let Some(Expr::MatrixSelector(matrix)) = call.args.args.first().map(|argument| &**argument)
        {
            self.counted.extend(matrix.vs.name.clone());
        }
        match call.func.name {
            "label_replace" => {
                let mut labels = vector.unwrap_or_default();
                // An empty name is that of no label: the replacement is written whatever there is.
                if !text(3).is_empty() && !labels.contains(&text(3)) {
                    self.complaints.push(format!("label_replace reads {}, which nothing beneath it bears", text(3)));
                }
                labels.insert(text(1));
                Some(labels)
            }
            "label_join" => {
                let mut labels = vector.unwrap_or_default();
                labels.insert(text(1));
                Some(labels)
            }
            "histogram_quantile" => {
                let mut labels = vector.unwrap_or_default();
                if !labels.remove("le") {
                    self.complaints.push("histogram_quantile gets no `le`".into());
                }
                Some(labels)
            }
            "vector" => Some(Labels::new()),
            "time" | "scalar" | "pi" => None,
            "absent" | "absent_over_time" => {
                let equal = call.args.args.first().map(|argument| match &**argument {
                    Expr::VectorSelector(selector) => selector.matchers.clone(),
                    Expr::MatrixSelector(matrix) => matrix.vs.matchers.clone(),
                    _ => Matchers::empty(),
                });
                let equal = equal.into_iter().flat_map(|matchers| matchers.matchers);
                Some(equal.filter(|of| matches!(of.op, MatchOp::Equal)).map(|of| of.name).collect())
            }
            _ => vector,
        }
    }

    fn binary(&mut self, binary: &BinaryExpr, known: &Known) -> Option<Labels> {
        let op = binary.op.to_string();
        let (left, right) = (self.follow(&binary.lhs, known), self.follow(&binary.rhs, known));
        if ["==", "!=", ">", "<", ">=", "<="].contains(&op.as_str()) {
            for side in [&binary.lhs, &binary.rhs] {
                self.compared_with.extend(number(side));
            }
        }
        let (left, right) = match (left, right) {
            (Some(left), Some(right)) => (left, right),
            (left, right) => return left.or(right),
        };
        let modifier = binary.modifier.as_ref();
        let on = self.matched_on(&op, modifier, &left, &right);
        match op.as_str() {
            "and" | "unless" => return Some(left),
            "or" => return Some(left.union(&right).cloned().collect()),
            _ => {}
        }
        let (many, one, carried) = match modifier.map(|modifier| &modifier.card) {
            Some(VectorMatchCardinality::ManyToOne(carried)) => (&left, &right, carried),
            Some(VectorMatchCardinality::OneToMany(carried)) => (&right, &left, carried),
            _ => return Some(on),
        };
        let mut labels = many.clone();
        for label in &carried.labels {
            if !one.contains(label) {
                self.complaints
                    .push(format!("group_left or group_right carries {label}, which the one side does not bear"));
            }
            labels.insert(label.clone());
        }
        Some(labels)
    }

    /// The labels by which two sides are matched.
    fn matched_on(&mut self, op: &str, modifier: Option<&BinModifier>, left: &Labels, right: &Labels) -> Labels {
        match modifier.and_then(|modifier| modifier.matching.as_ref()) {
            Some(LabelModifier::Include(on)) => {
                let on: Labels = on.labels.iter().cloned().collect();
                for label in &on {
                    if !left.contains(label) || !right.contains(label) {
                        self.complaints.push(format!("`{op} on ({label})`: one side does not bear it"));
                    }
                }
                on
            }
            Some(LabelModifier::Exclude(ignoring)) => {
                let but = |side: &Labels| -> Labels {
                    side.iter().filter(|label| !ignoring.labels.contains(label)).cloned().collect()
                };
                self.same(op, &but(left), &but(right));
                but(left)
            }
            None => {
                // A union keeps what the other side has not, whatever it bears.
                if op != "or" {
                    self.same(op, left, right);
                }
                left.clone()
            }
        }
    }

    fn same(&mut self, op: &str, left: &Labels, right: &Labels) {
        if left != right {
            self.complaints.push(format!("`{op}` matches {left:?} with {right:?}, which are never the same"));
        }
    }
}

fn matchers(matchers: &Matchers) -> impl Iterator<Item = String> {
    let all = matchers.matchers.iter().chain(matchers.or_matchers.iter().flatten());
    all.map(|matcher| matcher.name.clone())
}

/// The values that a matcher names. None where a pattern is more than words and bars, and for what must be empty or must not.
fn words(matcher: &Matcher) -> Vec<String> {
    let is_word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-/: ".contains(c));
    let words: Vec<String> = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.clone()],
        _ => matcher.value.split('|').map(str::to_owned).collect(),
    };
    if words.iter().all(|word| is_word(word)) { words } else { Vec::new() }
}

/// The number that an expression is, whatever is reckoned to have it.
fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::NumberLiteral(number) => Some(number.val),
        Expr::Paren(paren) => number(&paren.expr),
        Expr::Unary(unary) => Some(-number(&unary.expr)?),
        Expr::Call(call) if ["vector", "scalar"].contains(&call.func.name) => number(call.args.args.first()?),
        Expr::Binary(binary) => {
            let (left, right) = (number(&binary.lhs)?, number(&binary.rhs)?);
            match binary.op.to_string().as_str() {
                "+" => Some(left + right),
                "-" => Some(left - right),
                "*" => Some(left * right),
                "/" => Some(left / right),
                // Whatever it is, it is neither 0 nor 1.
                _ => Some(f64::NAN),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let metric = |name: &str, labels: &[&str]| {
            let labels = ["job", "instance"].iter().chain(labels).map(|label| (*label).to_owned()).collect();
            (name.to_owned(), labels)
        };
        Known::from([metric("a_total", &["x", "y"]), metric("b_bucket", &["le", "x"]), metric("limit", &[])])
    }

    #[test]
    fn labels_flow_outwards() {
        let labels = |text: &str| {
            let found = look_at(text, &known());
            assert_eq!(found.complaints, Vec::<String>::new(), "{text}");
            found.labels.map(|labels| labels.into_iter().collect::<Vec<_>>().join(","))
        };
        let label = |text: &str| labels(text).expect("a vector");
        assert_eq!(label("sum by (job, x) (rate(a_total{job=~\"$job\"}[$__rate_interval]))"), "job,x");
        assert_eq!(label("sum without (instance) (a_total)"), "job,x,y");
        assert_eq!(label("histogram_quantile(0.9, sum by (le, x) (rate(b_bucket[5m])))"), "x");
        assert_eq!(label("sum by (job) (a_total) > max by (job) (limit)"), "job");
        assert_eq!(label("max by (job, x) (a_total) > on (job) group_left () max by (job) (limit)"), "job,x");
        assert_eq!(label("label_replace(max by (job, x) (a_total), \"z\", \"$1\", \"x\", \"(.+)\")"), "job,x,z");
        assert_eq!(label("topk by (job) (3, sum by (job, y) (a_total))"), "job,y");
        assert_eq!(labels("time() - 3"), None);
    }

    #[test]
    fn what_never_answers_is_told() {
        for (text, wanted) in [
            ("sum by (job) (", "cannot be read"),
            ("c_total", "no metric c_total"),
            ("a_total{z=\"1\"}", "a_total has no label z"),
            ("sum by (z) (a_total)", "asks for z"),
            ("sum by (x) (sum by (job) (a_total))", "asks for x"),
            ("sum by (job, x) (a_total) > max by (job) (limit)", "never the same"),
            ("max by (job) (a_total) > on (x) max by (job) (limit)", "one side does not bear it"),
            ("a_total * on (job) group_left (z) limit", "carries z"),
            ("histogram_quantile(0.9, sum by (x) (rate(b_bucket[5m])))", "gets no `le`"),
            ("label_replace(limit, \"z\", \"$1\", \"x\", \"(.+)\")", "label_replace reads x"),
        ] {
            let complaints = look_at(text, &known()).complaints;
            assert!(complaints.iter().any(|found| found.contains(wanted)), "{text}: {complaints:?}");
        }
    }

    #[test]
    fn what_it_reads_is_known() {
        let found = look_at("rate(a_total{job=\"j\"}[2m]) > 5 and limit > 1", &known());
        assert_eq!(found.metrics.into_iter().collect::<Vec<_>>(), ["a_total", "limit"]);
        assert_eq!(found.counted.into_iter().collect::<Vec<_>>(), ["a_total"]);
        assert_eq!(
            (found.without_job, found.compared_with, found.shortest_range),
            (vec!["limit".into()], vec![5.0, 1.0], Some(120))
        );
        let found = look_at("max_over_time(limit[1m:10s]) > 2 * (60 - 1) and limit > vector(7)", &known());
        assert_eq!((found.compared_with, found.shortest_range), (vec![118.0, 7.0], Some(60)));
        let found =
            look_at("a_total{x=\"one\",y=~\"two|three\",job=~\"$job\"} or a_total{x=~\"o.+\",y=\"\"}", &known());
        let value = |label: &str, value: &str| ("a_total".to_owned(), label.to_owned(), value.to_owned());
        assert_eq!(found.values, [value("x", "one"), value("y", "two"), value("y", "three")]);
    }
}
