use crate::pack::load::parse;

const HEAD: &str = "app: plants\ntitle: Plants\ncollectors:\n";

fn complaints(collectors: &str) -> Vec<String> {
    let found = parse("p.yaml", &format!("{HEAD}{collectors}")).err();
    found.map(|errors| errors.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// What lint says of these forms in a collector that uses the columns `kind` and `size`.
fn of_forms(forms: &str) -> Vec<String> {
    complaints(&format!(
        "  - name: words
    logs:
      lines:
        - {}
        - {{columns: {{kind: kind, size: size}}}}
    metrics:
      - {{counter: plants_words_total, help: x, value: size, labels: [kind, level]}}\n",
        forms.replace('\n', "\n        - ")
    ))
}

/// What lint says of these metrics in a collector that has the columns `kind` and `size`, both used elsewhere.
fn of_metric(metric: &str) -> Vec<String> {
    complaints(&format!(
        "  - name: words
    logs: {{lines: [{{columns: {{kind: kind, size: size}}}}]}}
    metrics:
      - {{counter: plants_size_total, help: x, value: size, labels: [kind]}}
      - {metric}\n"
    ))
}

const FORMS: &str = "{json: {event: start}, run: start, columns: {id: request, kind: kind}}, \
                     {json: {event: end}, run: end, columns: {id: request, outcome: outcome}}";

/// What lint says of a collector whose lines are joined.
fn of_runs(runs: &str, forms: &str, metric: &str) -> Vec<String> {
    complaints(&format!(
        "  - name: words
    logs:
      lines: [{forms}]
      {runs}
    metrics:
      - {{counter: plants_runs_total, help: x, labels: [kind, outcome]}}
      - {metric}\n"
    ))
}

fn expect(found: &[String], wanted: &str) {
    assert_eq!(found.len(), 1, "one complaint about «{wanted}», but: {found:#?}");
    assert!(found[0].contains(wanted), "{wanted} not in {found:#?}");
}

#[test]
fn a_good_collector_passes() {
    let good = r#"  - name: words
    logs:
      stream: application
      lines:
        - {prefix: '[health]', skip: true}
        - level: [error, unknown]
          prefix: ['[ai]', '[mail]']
          contains: [failed, 'gave up']
          pattern: '^\[(?<area>[a-z]+)\] (?<text>.*)'
          columns:
            reason: {capture: text, classify: [{pattern: timed? out, as: timeout}], otherwise: other}
            area: {capture: area, map: {ai: model}}
        - json: {msg: [action_ok, action_fail], /err/name: '*', status: [200, 404.5], ok: true, a.b: x}
          record: {/proxy/statusCode: 500}
          columns:
            route: {json: [route, /meta/route], missing: none}
            host: {record: host}
            took: {json: durationMs, scale: 0.001}
        - json: {event: done}
          each: errors
          columns: {reason: {item: error}, area: {item: ''}, one: {constant: '1'}, models: {count: models}}
        - {}
    metrics:
      - {counter: plants_words_total, help: x, labels: [level, {name: sort, column: area}, reason, route, host]}
      - {histogram: plants_took_seconds, help: x, value: took, scale: 0.001, buckets: [1, 2]}
      - {counter: plants_ones_total, help: x, value: one}
      - {gauge: plants_models, help: x, value: models}
      - {gauge: plants_last_word_timestamp_seconds, help: x, value: time}
    spans:
      - {name: 'act {route}', when: route, duration: took, attributes: {plants.host: host}}
"#;
    assert_eq!(complaints(good), Vec::<String>::new());
    let runs = "runs: {id: id, lost_after: 15m, lost: {outcome: killed, level: error}}";
    let in_flight = "{gauge: plants_runs, help: x, value: in_flight}
    spans: [{name: run, start: started, attributes: {plants.kind: kind, plants.level: level}}]";
    assert_eq!(of_runs(runs, FORMS, in_flight), Vec::<String>::new());
    let of_captures = "{prefix: b, pattern: 'begin (?<id>.)', run: start, columns: {kind: {constant: x}}}, \
                       {prefix: e, pattern: 'end (?<id>.) (?<outcome>.)', run: end}";
    assert_eq!(of_runs(runs, of_captures, in_flight), Vec::<String>::new());
}

#[test]
fn forms_keep_to_their_rules() {
    for (forms, wanted) in [
        ("{pattern: 'a(b'}", "unclosed group"),
        ("{pattern: 'a(?=b)'}", "look-around"),
        ("{pattern: '\\w{1000}{1000}'}", "becomes too large; repeat less"),
        ("{pattern: ''}", "every text fits an empty pattern"),
        ("{pattern: '(?<odd>x)'}", "uses the capture `odd`; write `(?:…)`"),
        ("{pattern: '(?<Kind>x)', columns: {kind: {capture: Kind}}}", "capture `Kind`: use a-z"),
        ("{pattern: '(?<kind>x)(?<level>y)'}", "capture `level`: lines have a column of this name anyway"),
        ("{pattern: '(?<kind>x)', columns: {kind: kind}}", "captures `kind` too"),
        ("{prefix: x, columns: {kind: {capture: kind}}}", "`pattern` has no capture `(?<kind>…)`"),
        ("{pattern: '(?<word>x)', columns: {kind: {capture: word}, size: {capture: wrod}}}", "did you mean `word`?"),
        ("{prefix: x, columns: {odd: odd}}", "neither a metric nor a span uses column `odd`"),
        ("{prefix: x, columns: {level: severity}}", "column `level`: lines have a column of this name anyway"),
        ("{prefix: x, columns: {kind: {}}}", "and `constant`; here is none"),
        ("{prefix: x, columns: {kind: {json: a, record: b}}}", "here is `json` and `record`"),
        ("{prefix: x, columns: {kind: {json: []}}}", "name at least one field"),
        ("{prefix: x, columns: {kind: {item: a}}}", "there is no `each`"),
        ("{prefix: x, each: a, columns: {kind: {item: a/b}}}", "`a/b`: a pointer begins with `/`, as in `/a/b`"),
        ("{prefix: x, columns: {kind: ''}}", "name a field, or write a pointer"),
        ("{prefix: x, columns: {kind: /a~b}}", "in a pointer `~` is written `~0`"),
        ("{prefix: x, columns: {kind: {count: a/b}}}", "a slash that belongs to the name is written `/a~1b`"),
        ("{json: {a/b: 1}}", "a pointer begins with `/`"),
        ("{record: {a/b: 1}}", "a pointer begins with `/`"),
        ("{prefix: x, each: ''}", "name a field, or write a pointer"),
        ("{json: {a: []}}", "or `\"*\"` for any"),
        ("{json: {a: [1, 2, 1.0]}}", "a value stands twice"),
        ("{level: loud}", "`loud` is no level; there are trace, debug"),
        ("{level: eror}", "did you mean `error`?"),
        ("{level: []}", "so no line fits; name at least one"),
        ("{prefix: [a, a]}", "`a` stands twice"),
        ("{contains: ''}", "every text has an empty text in it"),
        ("{prefix: x, columns: {kind: {json: a, classify: [{pattern: '(', as: b}]}}}", "unclosed group"),
        ("{prefix: x, columns: {kind: {json: a, classify: [{pattern: x, as: ''}]}}}", "say what it becomes"),
        (
            "{prefix: x, columns: {kind: {json: a, classify: [{pattern: '', as: a}, {pattern: x, as: b}]}}}",
            "those after it are never asked",
        ),
        ("{prefix: x, columns: {kind: {json: a, otherwise: b}}}", "neither `map` nor `classify`"),
        ("{prefix: x, columns: {kind: {json: a, scale: 0}}}", "a factor other than 0"),
        ("{prefix: x, columns: {kind: {constant: a, missing: b}}}", "a constant stays what it is"),
        ("{prefix: x, skip: true, columns: {kind: kind}}", "they need no columns, list or run"),
        ("{prefix: x, skip: true, each: list}", "they need no columns, list or run"),
        ("{pattern: '(?<kind>x)', skip: true}", "they need no columns, list or run"),
        ("{prefix: x, run: start}", "has no `runs` that says which column"),
    ] {
        expect(&of_forms(forms), wanted);
    }
}

#[test]
fn a_form_that_no_line_reaches_is_told() {
    for (forms, reached) in [
        ("{}", false),
        ("{each: list}", false),
        ("{json: {a: b}}\n{json: {a: b}}", false),
        ("{json: {a: '*'}}\n{json: {a: b}}", false),
        ("{json: {a: [b, c]}}\n{json: {a: b, d: e}, level: error}", false),
        ("{level: [warn, error]}\n{level: error, prefix: x}", false),
        ("{prefix: '[a'}\n{prefix: ['[ab]', '[ac]']}", false),
        ("{contains: b}\n{contains: abc}", false),
        ("{pattern: a}\n{pattern: a, level: warn}", false),
        ("{json: {a: b}}\n{json: {a: '*'}}", true),
        ("{json: {a: b}, level: error}\n{json: {a: b}}", true),
        ("{record: {a: b}}\n{json: {a: b}}", true),
        ("{prefix: '[ab'}\n{prefix: '[a'}", true),
        ("{prefix: a}\n{contains: a}", true),
        ("{level: error}\n{level: [warn, error]}", true),
        ("{pattern: a}\n{pattern: b}", true),
    ] {
        let found = of_forms(forms);
        if reached {
            assert_eq!(found, Vec::<String>::new(), "{forms}");
        } else {
            expect(&found, "no line ever gets here: each fits form 1 of the list");
        }
    }
}

#[test]
fn metrics_of_lines_keep_to_their_rules() {
    for (metric, wanted) in [
        ("{info: plants_info, help: x, labels: [kind]}", "lines tell what is new; make it a counter"),
        ("{counter: plants_total, help: x, value: size, server_total: true}", "outside of `rows`, `logs` and `probe`"),
        ("{gauge: plants, help: x, labels: [{name: kind, values: [a]}], state_label: kind}", "no state set"),
        ("{gauge: plants, help: x, value: size, merge: max}", "what the youngest line told; remove `merge`"),
        ("{gauge: plants, help: x}", "a gauge needs `value`"),
        ("{gauge: plants, help: x, value: in_flight}", "column `in_flight` is not among those"),
        ("{gauge: plants, help: x, value: started}", "column `started` is not among those"),
        (
            "{counter: plants_total, help: x, labels: [knid]}",
            "is not among those that this collector has; did you mean `kind`?",
        ),
        ("{gauge: plants, help: x, value: size}\n      - {gauge: plants, help: x, value: size}", "makes it already"),
        (
            "{histogram: plants_seconds, help: x, value: size}\n    spans: [{name: a, duration: siez}]",
            "column `siez` is not among those that a line of this collector has; did you mean `size`?",
        ),
    ] {
        expect(&of_metric(metric), wanted);
    }
}

#[test]
fn collectors_of_lines_keep_to_their_rules() {
    let metric = "metrics: [{counter: plants_words_total, help: x}]";
    for (body, wanted) in [
        ("logs: {}", "`lines: [{}]` counts every line"),
        ("logs: {lines: [{}]}\n    interval: 1m", "nothing is asked for them; remove `interval`"),
        ("logs: {lines: [{}]}\n    up: {gauge: plants_up, help: x}", "nothing is asked for them; remove `up`"),
        ("logs: {lines: [{}]}\n    probe: {}", "it has `probe` and `logs`; make a collector of each"),
    ] {
        expect(&complaints(&format!("  - name: words\n    {body}\n    {metric}\n")), wanted);
    }
    let of = |name: &str| {
        format!(
            "  - name: {name}\n    logs: {{lines: [{{columns: {{a: a, b: b}}}}]}}\n    {}\n    \
             spans: [{{name: act, start: a, attributes: {{plants.b: b}}}}]\n",
            metric.replace("words", name)
        )
    };
    assert_eq!(complaints(&of("one")), Vec::<String>::new());
    expect(&complaints(&(of("one") + &of("two"))), "collector one makes a span of this name of log lines too");
}

#[test]
fn runs_keep_to_their_rules() {
    let good = "runs: {id: id, lost_after: 15m}";
    let plain = "{gauge: plants_size, help: x, value: started}";
    assert_eq!(of_runs(good, FORMS, plain), Vec::<String>::new());
    for (runs, wanted) in [
        ("runs: {id: idd, lost_after: 15m}", "did you mean `id`?"),
        ("runs: {id: id, lost_after: 0s}", "above zero, such as `15m`"),
        ("runs: {id: id, lost_after: 15m, lost: {outcom: killed}}", "did you mean `outcome`?"),
        ("runs: {id: id, lost_after: 15m, lost: {time: now}}", "`time` is not for `lost` to say"),
        ("runs: {id: id, lost_after: 15m, lost: {in_flight: '1'}}", "`in_flight` is not for `lost` to say"),
    ] {
        let found = of_runs(runs, FORMS, plain);
        assert!(found.iter().any(|complaint| complaint.contains(wanted)), "{wanted} not in {found:#?}");
    }
    let [start, end] = FORMS.split_once(", {").map(|(start, end)| [start.to_owned(), format!("{{{end}")]).expect("two");
    expect(&of_runs(good, &start, "{gauge: g, help: x, value: outcome}")[..1], "no form of line says `run: end`");
    expect(&of_runs(good, &end, "{gauge: g, help: x, value: kind}")[..1], "no form of line says `run: start`");
    expect(
        &of_runs(good, &FORMS.replace("run: end, columns: {id: request, ", "run: end, columns: {"), plain),
        "form 2 of `lines` has `run` and no column `id`",
    );
    expect(&of_runs(good, &FORMS.replace("run: end,", "run: end, each: list,"), plain), "makes one row");
    expect(
        &of_runs(good, &FORMS.replace("outcome: outcome", "outcome: outcome, started: x"), plain),
        "column `started`: lines",
    );
    for (metric, wanted) in [
        ("{counter: plants_total, help: x, value: in_flight}", "says how things stand; make it a gauge"),
        (
            "{gauge: plants, help: x, value: started, labels: [{name: a, column: in_flight}]}",
            "number of runs and no label",
        ),
        (
            "{gauge: plants, help: x, value: in_flight, labels: [outcome]}",
            "only their number is known; remove the labels",
        ),
        (
            "{gauge: plants, help: x, value: started}\n    spans: [{name: run, start: in_flight}]",
            "column `in_flight` is not among those that a line",
        ),
    ] {
        expect(&of_runs(good, FORMS, metric), wanted);
    }
}
