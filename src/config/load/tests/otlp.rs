//! `otlp` in the file, alone and beside the variables.

use super::*;
use crate::config::OtlpSettings;
use crate::config::otlp::{GenAiNames, HistogramForm, OtlpEndpoint, OtlpProtocol, Sampler, Temporality};

/// Names and values.
type Variables<'v> = &'v [(&'v str, &'v str)];

const SOURCES: &str = "sources: [{name: a, url: a.db}]\n";

/// What the file's `otlp` and these variables come to; its complaints where it is wrong.
fn read(otlp: &str, variables: Variables) -> Result<OtlpSettings, Vec<String>> {
    let folder = folder(&format!("{SOURCES}listen: 127.0.0.1:1\notlp: {otlp}\n"));
    for name in ["ca.pem", "own.pem", "own.key"] {
        std::fs::write(folder.path().join(name), "x").expect("writable");
    }
    std::fs::write(folder.path().join("headers"), "# ours\nX-Tenant: shop: 1\n\nAuthorization: Bearer hunter2\n")
        .expect("writable");
    std::fs::write(folder.path().join("bad"), "hunter2\nhunter2 x: y\n").expect("writable");
    let look_up = |asked: &str| {
        let found = variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned());
        found.or_else(|| variable(asked))
    };
    // As `load` does, with the one pack alone: the built-in ones take long to read.
    let file = folder.path().join("c.yaml");
    let text = std::fs::read_to_string(&file).expect("just written");
    let pack = pack::load::parse("plants.yaml", PACK).unwrap_or_else(|errors| panic!("{errors}"));
    let read = super::super::read(&file.display().to_string(), &text, &look_up).and_then(|draft| {
        validate::settings(draft, Some(vec![Arc::new(pack)]), &Overrides::default(), &look_up).map_err(ConfigErrors)
    });
    let shown = match &read {
        Ok(settings) => format!("{settings:?} {:?}", settings.otlp.lines()),
        Err(errors) => format!("{errors:?} {errors}"),
    };
    assert!(!shown.contains("hunter2"), "a secret in {shown}");
    let prefix = format!("{}/", folder.path().display());
    read.map(|settings| settings.otlp)
        .map_err(|errors| errors.0.iter().map(|complaint| complaint.to_string().replace(&prefix, "")).collect())
}

fn good(otlp: &str, variables: Variables) -> OtlpSettings {
    read(otlp, variables).unwrap_or_else(|told| panic!("{otlp} {variables:?}\n{told:#?}"))
}

fn headers(endpoint: &OtlpEndpoint) -> Vec<(&str, &str)> {
    endpoint.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect()
}

#[test]
fn everything_of_otlp_that_can_be_set_is_read() {
    let settings = good(
        "{endpoint: 'https://h/x', protocol: http/protobuf, headers: {Authorization: 'Bearer ${SECRET}'}, compression: gzip, \
          timeout: 3s, ca_file: FOLDER/ca.pem, client_certificate_file: FOLDER/own.pem, client_key_file: FOLDER/own.key, \
          service_name: counts, resource: {deployment.environment.name: test}, \
          traces: {rows: true, own: true, sample_ratio: 0.5, queue_spans: 7, batch_spans: 8, gen_ai_names: v1.36, \
          services: {plants: plants-web}, exemplars: false}, \
          metrics: {push: true, endpoint: 'http://m:4317/y', protocol: grpc, headers_file: FOLDER/headers, compression: none, \
          timeout: 4s, interval: 30s, temporality: delta, histograms: exponential}}",
        &[],
    );
    assert_eq!(settings.service_name, "counts");
    assert_eq!(settings.resource, [("deployment.environment.name".to_owned(), "test".to_owned())].into());
    let traces = settings.traces.expect("traces are on");
    assert_eq!(
        (traces.endpoint.url.as_str(), traces.endpoint.protocol),
        ("https://h/x/v1/traces", OtlpProtocol::HttpProtobuf)
    );
    assert_eq!(headers(&traces.endpoint), [("authorization", "Bearer hunter2")]);
    assert_eq!((traces.endpoint.gzip, traces.endpoint.timeout), (true, Duration::from_secs(3)));
    assert!(traces.endpoint.ca_file.as_ref().is_some_and(|file| file.ends_with("ca.pem")));
    let (own, key) = traces.endpoint.client_certificate.clone().expect("it is given");
    assert!(own.ends_with("own.pem") && key.ends_with("own.key"));
    assert_eq!((traces.own, traces.batch_spans), (Some(Sampler { ratio: 0.5, parent_based: true }), 8));
    let rows = traces.rows.expect("rows are on");
    assert_eq!((rows.queue_limit, rows.gen_ai_names, rows.exemplars), (7, GenAiNames::V1_36, false));
    assert_eq!(rows.services["plants"], "plants-web");
    let metrics = settings.metrics.expect("metrics are on");
    assert_eq!((metrics.endpoint.url.as_str(), metrics.endpoint.protocol), ("http://m:4317/", OtlpProtocol::Grpc));
    assert_eq!(headers(&metrics.endpoint), [("x-tenant", "shop: 1"), ("authorization", "Bearer hunter2")]);
    assert_eq!((metrics.endpoint.gzip, metrics.endpoint.timeout), (false, Duration::from_secs(4)));
    assert_eq!(metrics.endpoint.ca_file, traces.endpoint.ca_file);
    assert_eq!(metrics.interval, Duration::from_secs(30));
    assert_eq!((metrics.temporality, metrics.histograms), (Temporality::Delta, HistogramForm::Exponential));
}

#[test]
fn the_file_says_what_is_sent() {
    let none = [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")];
    let all = [("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_METRICS_EXPORTER", "otlp")];
    let cases: &[(&str, Variables, [bool; 3])] = &[
        ("{}", &[], [false, false, false]),
        ("{protocol: grpc}", &[], [false, false, false]),
        ("{endpoint: 'http://h'}", &[], [true, true, false]),
        ("{traces: {endpoint: 'http://h'}}", &[], [true, true, false]),
        ("{metrics: {endpoint: 'http://h'}}", &[], [false, false, true]),
        ("{metrics: {endpoint: 'http://h', push: false}}", &[], [false, false, false]),
        ("{endpoint: 'http://h', traces: {rows: false}}", &[], [false, true, false]),
        ("{endpoint: 'http://h', traces: {own: false}, metrics: {push: true}}", &[], [true, false, true]),
        ("{endpoint: 'http://h', traces: {rows: false, own: false}}", &[], [false, false, false]),
        ("{traces: {own: true}}", &[], [false, true, false]),
        ("{endpoint: 'http://h', metrics: {endpoint: 'http://h'}}", &none, [false, false, false]),
        ("{endpoint: 'http://h', traces: {rows: true}, metrics: {push: true}}", &none, [true, false, true]),
        ("{traces: {rows: false}, metrics: {push: false}}", &all, [false, true, false]),
        (
            "{endpoint: 'http://h', traces: {rows: true}, metrics: {push: true}}",
            &[("OTEL_SDK_DISABLED", "true")],
            [false; 3],
        ),
    ];
    for (otlp, variables, wanted) in cases {
        let settings = good(otlp, variables);
        let traces = settings.traces.as_ref();
        let found = [
            traces.is_some_and(|of| of.rows.is_some()),
            traces.is_some_and(|of| of.own.is_some()),
            settings.metrics.is_some(),
        ];
        assert_eq!(found, *wanted, "{otlp} {variables:?}");
    }
    // That a variable goes before an endpoint of the file is told, unless the file says so itself.
    let both = "{endpoint: 'http://h', metrics: {endpoint: 'http://h'}}";
    let warnings = good(both, &none).warnings;
    for (warning, wanted) in warnings.iter().zip([
        "OTEL_TRACES_EXPORTER: no traces are sent, although the file names a receiver; `otlp.traces.rows` and `otlp.traces.own`",
        "OTEL_METRICS_EXPORTER: no metrics are pushed, although the file names a receiver for them; `otlp.metrics.push`",
    ]) {
        assert!(warning.starts_with(wanted), "{warnings:?}");
    }
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for quiet in ["{}", "{endpoint: 'http://h', traces: {rows: true, own: false}}"] {
        assert!(good(quiet, &none).warnings.is_empty(), "{quiet}");
    }
}

#[test]
fn an_endpoint_of_one_signal_is_taken_as_it_is() {
    let settings = good("{endpoint: 'http://h/x', traces: {endpoint: 'http://t/y/'}, metrics: {push: true}}", &[]);
    assert_eq!(settings.traces.expect("on").endpoint.url.as_str(), "http://t/y/");
    assert_eq!(settings.metrics.expect("on").endpoint.url.as_str(), "http://h/x/v1/metrics");
}

#[test]
fn what_is_wrong_in_the_file_is_told_where_nothing_is_sent() {
    for (otlp, wanted) in [
        ("{ca_file: FOLDER/none}", "c.yaml:3: otlp.ca_file: there is no such file"),
        ("{traces: {timeout: 0s}}", "c.yaml:3: otlp.traces.timeout: expected a length of time above zero"),
        ("{metrics: {headers: {te: x}}}", "c.yaml:3: otlp.metrics.headers.te: Rowmetry sets"),
        ("{metrics: {client_key_file: FOLDER/own.key}}", "c.yaml:3: otlp.metrics.client_key_file: its certificate"),
    ] {
        let told = read(otlp, &[]).expect_err(otlp);
        assert!(told.len() == 1 && told[0].starts_with(wanted), "{told:?}");
    }
}

#[test]
fn the_file_goes_before_the_variables_and_they_fill_what_it_leaves_open() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://variable:1/t"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://variable:1/m"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "k=variable"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "500"),
        ("OTEL_SERVICE_NAME", "variable"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=variable,b=variable"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "9"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram"),
    ];
    let said = |settings: OtlpSettings| -> Vec<String> {
        let (traces, metrics) = (settings.traces.expect("on"), settings.metrics.expect("on"));
        let endpoint = |of: &OtlpEndpoint| format!("{of} {:?} {:?}", headers(of), of.timeout);
        vec![
            format!("{} {:?}", settings.service_name, settings.resource),
            endpoint(&traces.endpoint),
            format!("{:?} {} {}", traces.own.expect("on"), traces.batch_spans, traces.rows.expect("on").exemplars),
            endpoint(&metrics.endpoint),
            format!("{:?} {:?} {:?}", metrics.interval, metrics.temporality, metrics.histograms),
        ]
    };
    assert_eq!(
        said(good("{}", &variables)),
        [
            r#"variable {"a": "variable", "b": "variable"}"#,
            r#"http://variable:1 (grpc, gzip) [("k", "variable")] 1s"#,
            "Sampler { ratio: 0.25, parent_based: false } 9 false",
            "http://variable:1 (grpc, gzip) [] 500ms",
            "5s Delta Exponential",
        ]
    );
    // What the file says of all goes before what a variable says of one signal.
    let file = "{endpoint: 'http://file:2', protocol: http/protobuf, headers: {k: file}, compression: none, timeout: 7s, \
                service_name: file, resource: {a: file}, \
                traces: {sample_ratio: 0.5, batch_spans: 3, exemplars: true, timeout: 8s}, \
                metrics: {interval: 6s, temporality: cumulative, histograms: explicit}}";
    assert_eq!(
        said(good(file, &variables)),
        [
            r#"file {"a": "file", "b": "variable"}"#,
            r#"http://file:2/v1/traces (http/protobuf) [("k", "file")] 8s"#,
            "Sampler { ratio: 0.5, parent_based: false } 3 true",
            r#"http://file:2/v1/metrics (http/protobuf) [("k", "file")] 7s"#,
            "6s Cumulative Explicit",
        ]
    );
    let empty =
        good("{headers: {}}", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h"), ("OTEL_EXPORTER_OTLP_HEADERS", "k=v")]);
    assert!(headers(&empty.traces.expect("on").endpoint).is_empty(), "no header is what the file says");
    // What the variable says is not looked at where the file says something else.
    good("{endpoint: 'http://h', protocol: grpc}", &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
}

#[test]
fn everything_that_is_wrong_with_otlp_is_told_at_once() {
    let told = read(
        "\n  endpont: x\n  endpoint: hunter2\n  protocol: http/json\n  compression: zstd\n  headers: {k k: hunter2, a: [hunter2], host: hunter2}\n  \
         timeout: 0s\n  ca_file: FOLDER/none\n  client_key_file: FOLDER/own.key\n  service_name: ''\n  resource: {service.name: x}\n  \
         traces:\n    sample_ratio: 2\n    queue_spans: 0\n    batch_spans: 10001\n    gen_ai_names: v1.37\n    services: {plant: x}\n    \
         headers_file: FOLDER/bad\n    exemplar: true\n    client_certificate_file: FOLDER/none\n    client_key_file: FOLDER/own.key\n  \
         metrics:\n    push: yes please\n    interval: 0s\n    temporality: lowmemory\n    histograms: none\n    headers: {}\n    \
         headers_file: FOLDER/headers\n    timeout: soon",
        &[("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/hunter2")],
    )
    .expect_err("all of it is wrong");
    let wanted = [
        "c.yaml:4: otlp.endpont: there is no such key; did you mean `endpoint`?",
        "c.yaml:5: otlp.endpoint: expected the receiver's URL",
        "c.yaml:6: otlp.protocol: expected one of http/protobuf, grpc",
        "c.yaml:7: otlp.compression: expected one of gzip, none",
        "c.yaml:8: otlp.headers.a: expected text",
        "c.yaml:8: otlp.headers.host: Rowmetry sets this header itself",
        "c.yaml:8: otlp.headers.k k: a header's name has letters",
        "c.yaml:9: otlp.timeout: expected a length of time above zero",
        "c.yaml:10: otlp.ca_file: there is no such file",
        "c.yaml:11: otlp.client_key_file: its certificate is missing: give `client_certificate_file` too",
        "c.yaml:12: otlp.service_name: the name is empty",
        "c.yaml:13: otlp.resource: write `service.name` as the setting `service_name`",
        "c.yaml:15: otlp.traces.sample_ratio: expected a number from 0 to 1",
        "c.yaml:16: otlp.traces.queue_spans: expected a number from 1",
        "c.yaml:17: otlp.traces.batch_spans: expected a number from 1 to 10000",
        "c.yaml:18: otlp.traces.gen_ai_names: expected one of latest, v1.41, v1.36",
        "c.yaml:19: otlp.traces.services.plant: there is no pack `plant`; did you mean `plants`?",
        "c.yaml:20: otlp.traces.headers_file: line 1: expected `name: value`",
        "c.yaml:20: otlp.traces.headers_file: line 2: a header's name has letters",
        "c.yaml:21: otlp.traces.exemplar: there is no such key; did you mean `exemplars`?",
        "c.yaml:22: otlp.traces.client_certificate_file: there is no such file",
        "c.yaml:25: otlp.metrics.push: expected true or false",
        "c.yaml:26: otlp.metrics.interval: expected a length of time above zero",
        "c.yaml:27: otlp.metrics.temporality: expected one of cumulative, delta",
        "c.yaml:28: otlp.metrics.histograms: expected one of explicit, exponential",
        "c.yaml:30: otlp.metrics.headers_file: both `headers` and `headers_file`",
        "c.yaml:31: otlp.metrics.timeout: expected a length of time: a number",
    ];
    for wanted in wanted {
        assert!(told.iter().any(|told| told.starts_with(wanted)), "{wanted}\nnot in {told:#?}");
    }
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
}

#[test]
fn variables_of_sources_and_of_otlp_are_told_together() {
    let variables = |name: &str| match name {
        "DATABASE_URL" => Some("mysql://app:hunter2@h/d".to_owned()),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("hunter2".to_owned()),
        _ => None,
    };
    let told = load(&Overrides::default(), &variables).expect_err("both are wrong").to_string();
    let wanted =
        ["environment: DATABASE_URL: `mysql:` is not", "environment: OTEL_EXPORTER_OTLP_ENDPOINT: expected the"];
    for (told, wanted) in told.lines().zip(wanted) {
        assert!(told.starts_with(wanted), "{told}");
    }
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn what_is_left_empty_is_left_open() {
    let otlp = "{endpoint: 'http://h', protocol: , headers: , traces: {rows: , gen_ai_names: }}";
    assert!(good(otlp, &[]).traces.expect("on").rows.is_some());
}

#[test]
fn no_message_about_otlp_repeats_a_secret() {
    for otlp in [
        "hunter2",
        "{endpoint: [hunter2]}",
        "{endpoint: 'http://u:hunter2@h:x'}",
        "{endpoint: 'postgres://u:hunter2@h'}",
        "{protocol: grpc, endpoint: 'unix:/hunter2'}",
        "{protocol: '${SECRET}'}",
        "{compression: '${SECRET}'}",
        "{headers: hunter2}",
        "{headers: {'authorization: Bearer hunter2, and more, of a kind that is longer than any name': x}}",
        "{headers: {authorization: {hunter2: x}}}",
        "{headers: {host: '${SECRET}'}}",
        "{headers_file: '${SECRET}'}",
        "{ca_file: '${SECRET}'}",
        "{timeout: '${SECRET}'}",
        "{traces: {services: {'https://hunter2@h': x}}}",
        "{traces: {sample_ratio: '${SECRET}'}}",
    ] {
        assert!(read(otlp, &[]).is_err(), "{otlp}");
    }
}
