use crate::pack::load::parse;

const HEAD: &str = "app: plants\ntitle: Plants\n";

fn complaints(text: &str) -> Vec<String> {
    parse("p.yaml", text).err().map(|errors| errors.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// What lint says of one metric in a `rows` collector that has the columns `kind` and `size`, both used elsewhere.
fn of_metric(metric: &str) -> Vec<String> {
    of_collector(&format!(
        "rows: {{table: sprout, key: id, time: at, columns: {{kind: kind, size: size}}}}\n    metrics:\n      - {{counter: plants_size_total, help: x, value: size, labels: [kind]}}\n      - {metric}"
    ))
}

fn of_collector(body: &str) -> Vec<String> {
    complaints(&format!("{HEAD}collectors:\n  - name: sprouts\n    {body}\n"))
}

fn of_gauge(metric: &str) -> Vec<String> {
    of_collector(&format!("snapshot: {{sql: select 1 as n}}\n    metrics:\n      - {metric}"))
}

fn expect(found: &[String], wanted: &str) {
    assert_eq!(found.len(), 1, "one complaint about «{wanted}», but: {found:#?}");
    assert!(found[0].contains(wanted), "{wanted} not in {found:#?}");
}

#[test]
fn a_good_pack_passes() {
    let good = "detect: [sprout]
parameters:
  limit: {value: 3, help: Most sprouts., gauge: plants_sprout_limit}
collectors:
  - name: sprouts
    interval: 5m
    rows:
      table: sprout
      key: [bed, id]
      time: at
      columns: {kind: kind, seconds: {postgres: 'extract(epoch from x)::float8', sqlite: 'x / 1000.0'}}
      filter: t.size > :limit
      transition: t.state
      time_zone: Europe/Ljubljana
    metrics:
      - {counter: plants_sprouts_total, help: x, labels: [{name: sort, column: kind, values: [a, b], allow: [ids]}]}
      - {histogram: plants_sprout_seconds, help: x, value: seconds, labels: [kind], buckets: [0.1, 1, 10]}
  - name: beds
    snapshot: {sql: 'select bed, count(*) as n, state from sprout where at > :ago_5m and at <= :now group by 1'}
    metrics:
      - {gauge: plants_beds, help: x, value: n, labels: [bed], merge: max, series_limit: 5}
      - {gauge: plants_bed_state, help: x, labels: [{name: state, values: [dry, wet]}], state_label: state}
      - {info: plants_bed_info, help: x, labels: [bed]}
";
    assert_eq!(complaints(&format!("{HEAD}{good}")), Vec::<String>::new());
}

#[test]
fn complaints_name_file_line_collector_and_metric() {
    let found = of_metric("{counter: plants_sprouts, help: x}");
    assert_eq!(
        found,
        [
            "p.yaml:8: collector sprouts: metric plants_sprouts: a counter's name ends in `_total`: `plants_sprouts_total`"
        ]
    );
}

#[test]
fn metrics_keep_to_the_rules_of_their_kind() {
    for (metric, wanted) in [
        ("{help: x}", "here are none"),
        ("{counter: a_total, gauge: a, help: x}", "here are several"),
        ("{gauge: a, help: x, value: size}", "make it a counter"),
        ("{info: a_info, help: x}", "make it a counter"),
        ("{histogram: a, help: x}", "a histogram needs `value`"),
        ("{histogram: a_total, help: x, value: size}", "for counters only"),
        ("{histogram: a_info, help: x, value: size}", "for info metrics only"),
        ("{counter: A_total, help: x}", "has a-z, 0-9 and _"),
        ("{counter: rowmetry_a_total, help: x}", "reserved"),
        ("{counter: process_a_total, help: x}", "reserved"),
        ("{counter: pg_a_total, help: x}", "reserved"),
        ("{histogram: a_count, help: x, value: size}", "histogram's parts"),
        ("{counter: a_total, help: ' '}", "the help is empty"),
        ("{counter: a_total, help: \"x\\ny\"}", "several lines"),
        ("{counter: a_total, help: x, merge: sum}", "only gauges are merged"),
        ("{counter: a_total, help: x, series_limit: 0}", "at least one series"),
        ("{counter: a_total, help: x, buckets: [1]}", "only a histogram has buckets"),
        ("{histogram: a, help: x, value: size, buckets: []}", "the list is empty"),
        ("{histogram: a, help: x, value: size, buckets: [1, 1]}", "bounds are finite and ascend"),
        ("{counter: a_total, help: x, state_label: kind}", "only a gauge can be a state set"),
        ("{counter: a_total, help: x, value: siez}", "column `siez` is not in `columns`; did you mean `size`?"),
        ("{counter: a_total, help: x, labels: [sort]}", "column `sort` is not in `columns`"),
        ("{counter: a_total, help: x, labels: [kind, kind]}", "stands twice"),
        ("{counter: a_total, help: x, labels: [{name: le, column: kind}]}", "set by Prometheus"),
        ("{counter: a_total, help: x, labels: [{name: job, column: kind}]}", "set by Prometheus"),
        ("{counter: a_total, help: x, labels: [{name: __x, column: kind}]}", "begin with a letter"),
        ("{counter: a_total, help: x, labels: [{name: k-d, column: kind}]}", "begin with a letter"),
        ("{counter: a_total, help: x, labels: [{name: kind, values: [a, a]}]}", "lists a value twice"),
        ("{counter: plants_size_total, help: y, value: size, labels: [kind]}", "makes it too, with other help"),
        ("{counter: plants_size_total, help: x, value: size}", "makes it too, with other labels"),
    ] {
        expect(&of_metric(metric), wanted);
    }
    for (metric, wanted) in [
        ("{counter: a_total, help: x}", "make it a gauge"),
        ("{histogram: a, help: x, value: n}", "make it a gauge"),
        ("{gauge: a, help: x}", "a gauge needs `value`"),
        ("{info: a, help: x}", "ends in `_info`"),
        ("{info: a_info, help: x, value: n}", "always 1"),
        ("{gauge: a, help: x, labels: [s], state_label: s}", "must be among `labels`, with its `values`"),
    ] {
        expect(&of_gauge(metric), wanted);
    }
}

#[test]
fn labels_are_as_many_as_a_row_has_room_for() {
    let metric = |labels: usize| {
        let labels: Vec<String> = (0..labels).map(|label| format!("{{name: l{label}, column: kind}}")).collect();
        of_metric(&format!("{{counter: a_total, help: x, labels: [{}]}}", labels.join(", ")))
    };
    assert_eq!(metric(crate::pack::LABELS_PER_METRIC), Vec::<String>::new());
    expect(&metric(crate::pack::LABELS_PER_METRIC + 1), "17 labels are more than the 16");
}

#[test]
fn collectors_keep_to_their_rules() {
    let metric = "metrics:\n      - {counter: plants_total, help: x}";
    let rows = "rows: {table: sprout, key: id, time: at";
    for (body, wanted) in [
        (metric.to_owned(), "neither `rows` nor `snapshot`"),
        (format!("{rows}}}\n    snapshot: {{sql: select 1}}\n    {metric}"), "both `rows` and `snapshot`"),
        (format!("{rows}}}\n    metrics: []"), "makes no metric"),
        (format!("interval: 0s\n    {rows}}}\n    {metric}"), "the interval is zero"),
        (format!("rows: {{table: '', key: id, time: at}}\n    {metric}"), "table's name is empty"),
        (format!("rows: {{table: a, key: [], time: at}}\n    {metric}"), "identify a row for ever"),
        (format!("rows: {{table: a, key: id, time: ''}}\n    {metric}"), "when the row happened"),
        (format!("{rows}, time_zone: 'x y'}}\n    {metric}"), "name of a time zone"),
        (format!("{rows}, columns: {{size: size}}}}\n    {metric}"), "no metric uses it"),
        (format!("{rows}, filter: 'a; b'}}\n    {metric}"), "semicolon"),
        (format!("{rows}, filter: ''}}\n    {metric}"), "the SQL is empty"),
        (format!("{rows}, filter: 'a > :limit'}}\n    {metric}"), "`:limit` is neither a parameter"),
        (format!("{rows}, filter: 'a > :ago_5m'}}\n    {metric}"), "must mean the same whenever it is read"),
        (format!("{rows}, transition: 'a > :limit'}}\n    {metric}"), "`:limit` is neither a parameter"),
    ] {
        expect(&of_collector(&body), wanted);
    }
    let gauge = "metrics:\n      - {gauge: plants, help: x, value: n}";
    for (sql, wanted) in [
        ("delete from sprout", "a snapshot is one SELECT"),
        ("select 1 as n; select 2", "semicolon"),
        ("select :nwo as n", "did you mean `now`?"),
    ] {
        expect(&of_collector(&format!("snapshot: {{sql: {sql}}}\n    {gauge}")), wanted);
    }
}

#[test]
fn packs_keep_to_their_rules() {
    let collector =
        "\n  - name: a\n    rows: {table: a, key: id, time: at}\n    metrics: [{counter: a_total, help: x}]";
    for (text, wanted) in [
        (format!("app: My App\ntitle: x\ncollectors:{collector}"), "a pack's name has"),
        (format!("app: a\ntitle: ''\ncollectors:{collector}"), "the title is empty"),
        ("app: a\ntitle: x\ncollectors: []".to_owned(), "no collector"),
        (format!("{HEAD}collectors:{}", collector.replace("name: a", "name: 'A b'")), "a collector's name has"),
        (
            format!("{HEAD}collectors:{collector}{}", collector.replace("a_total", "b_total")),
            "stands twice in the pack",
        ),
        (
            format!("{HEAD}parameters: {{now: {{value: 1, help: x, gauge: a_b}}}}\ncollectors:{collector}"),
            "neither `now` nor",
        ),
        (format!("{HEAD}parameters: {{b: {{value: 1, help: x}}}}\ncollectors:{collector}"), "no SQL uses it"),
        (format!("{HEAD}parameters: {{b: {{value: 1, help: x, gauge: up}}}}\ncollectors:{collector}"), "reserved"),
        (
            format!("{HEAD}parameters: {{b: {{value: .inf, help: x, gauge: b}}}}\ncollectors:{collector}"),
            "expected a number",
        ),
    ] {
        expect(&complaints(&text), wanted);
    }
}
