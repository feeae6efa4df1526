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
        ("{counter: plants_size_total, help: x, value: size, labels: [kind]}", "makes it already"),
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
        (metric.to_owned(), "it has none of `rows`"),
        (
            format!("{rows}}}\n    snapshot: {{sql: select 1}}\n    {metric}"),
            "it has `rows` and `snapshot`; make a collector of each",
        ),
        (format!("{rows}}}\n    metrics: []"), "makes no metric and no span"),
        (format!("interval: 0s\n    {rows}}}\n    {metric}"), "the interval is zero"),
        (format!("rows: {{table: '', key: id, time: at}}\n    {metric}"), "table's name is empty"),
        (format!("rows: {{table: a, key: [], time: at}}\n    {metric}"), "identify a row for ever"),
        (format!("rows: {{table: a, key: id, time: ''}}\n    {metric}"), "when the row happened"),
        (format!("{rows}, time_zone: 'x y'}}\n    {metric}"), "name of a time zone"),
        (format!("{rows}, columns: {{size: size}}}}\n    {metric}"), "neither a metric nor a span uses it"),
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
        ("delete from sprout", "it is one SELECT"),
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

#[test]
fn what_is_no_database_keeps_to_its_rules() {
    let gauge = "metrics:\n      - {gauge: plants, help: x, value: keys, labels: [bed]}";
    let keys = |family: &str| format!("keys: {{match: 'sprout:*', families: [{family}]}}\n    {gauge}");
    let good = "{pattern: 'sprout:{bed}:{id*}', bucket: {capture: id, window: 1h}, limit: 3}";
    assert_eq!(of_collector(&keys(good)), Vec::<String>::new());
    for (family, wanted) in [
        ("{pattern: 'sprout:{bed}{id}'}", "two captures touch"),
        ("{pattern: 'sprout:{bed'}, {pattern: 'a:{bed}'}", "has no `}`"),
        ("{pattern: 'sprout:{bed}:{bed}'}", "stands twice"),
        ("{pattern: 'sprout:{id}'}", "column `bed` is not among those that this collector has"),
        ("{pattern: 'sprout:{bed}', bucket: {capture: id, window: 1h}}", "not captured by the pattern"),
        ("{pattern: 'sprout:{bed}', bucket: {capture: bed, window: 0s}}", "above zero"),
        ("{pattern: 'sprout:{bed}', lookup: {bed: beds}}", "no look-up `beds`"),
        ("{pattern: 'sprout:{bed}', limit: 0}", "limit of 0"),
        ("{pattern: 'sprout:{bed}', set: {bed: x}}", "taken by the pattern"),
    ] {
        expect(&of_collector(&keys(family)), wanted);
    }
    let probe =
        |rest: &str| format!("probe: {{{rest}}}\n    metrics:\n      - {{gauge: plants_up, help: x, value: up}}");
    for (rest, wanted) in [
        ("path: api", "begins with `/`"),
        ("status: status", "no JSON pointer"),
        ("healthy: [ok]", "no `status`"),
        ("status: /status, healthy: [ok], unhealthy: [ok]", "stands in two lists"),
        ("values: [{as: up, at: /a}]", "that no probe has anyway"),
        ("values: [{as: a, at: b}]", "no JSON pointer"),
        ("timeout: 0s", "above zero"),
    ] {
        expect(&of_collector(&probe(rest)), wanted);
    }
    let observes = "probe: {}\n    metrics:\n      - {counter: plants_asked_total, help: x}\n      - ";
    assert_eq!(
        of_collector(&format!("{observes}{{histogram: plants_s, help: x, value: seconds, scale: 0.001}}")),
        [""; 0]
    );
    expect(
        &of_collector("show: {command: pools; x}\n    metrics: [{gauge: a, help: x, value: b}]"),
        "one word after SHOW",
    );
}

#[test]
fn totals_of_servers_and_names_of_other_exporters_need_their_word() {
    let of = |head: &str, metric: &str| {
        complaints(&format!("{HEAD}{head}collectors:\n  - {{name: a, info: {{}}, metrics: [{metric}]}}\n"))
    };
    let total = "{counter: redis_hits_total, help: x, value: keyspace_hits, server_total: true}";
    assert_eq!(of("common: redis\n", total), Vec::<String>::new());
    expect(&of("", total), "`redis_hits_total` is reserved");
    expect(&of("common: redis\n", &total.replace(", server_total: true", "")), "say `server_total: true`");
    expect(&of("common: postgres\n", total), "cannot be read by `info`");
    expect(&of("common: redis\ndetect: [x]\n", total), "remove `detect` or `common`");
    expect(
        &of("common: redis\n", "{counter: redis_hits_total, help: x, server_total: true}"),
        "which column holds the total",
    );
    expect(&of_metric("{counter: plants_total, help: x, value: size, server_total: true}"), "outside of `rows`");
    expect(&of_metric("{counter: plants_total, help: x, value: size, scale: 2}"), "in the column's SQL");
    expect(&of_gauge("{gauge: plants, help: x, value: n, scale: 0}"), "a factor other than 0");
}

#[test]
fn look_ups_are_used_and_named_well() {
    let text = |lookups: &str| {
        complaints(&format!(
            "{HEAD}lookups: {lookups}\ncollectors:\n  - name: a\n    keys: {{match: '*', families: [{{pattern: 'a:{{bed}}', \
             lookup: {{bed: beds}}}}]}}\n    metrics: [{{gauge: plants, help: x, value: keys, labels: [bed]}}]\n"
        ))
    };
    assert_eq!(text("{beds: {sql: 'select id, name from bed'}}"), Vec::<String>::new());
    expect(&text("{beds: {sql: 'delete from bed'}}"), "it is one SELECT");
    expect(&text("{beds: {sql: 'select id, name from bed'}, b: {sql: 'select 1'}}"), "no `keys` collector uses it");
    expect(&text("{beds: {sql: 'select :limit as id, name from bed'}}"), "neither a parameter");
}
