use super::*;

/// Names and values.
type Variables<'v> = &'v [(&'v str, &'v str)];

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318");
const METRICS: (&str, &str) = ("OTEL_METRICS_EXPORTER", "otlp");
const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");

fn read(variables: Variables) -> Result<OtlpSettings, ConfigErrors> {
    let read = from_environment(&|asked| {
        variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
    });
    let shown = match &read {
        Ok(settings) => format!("{settings:?} {:?}", settings.lines()),
        Err(errors) => format!("{errors:?} {errors}"),
    };
    assert!(!shown.contains("hunter2"), "a secret in {shown}");
    read
}

fn good(variables: Variables) -> OtlpSettings {
    read(variables).unwrap_or_else(|errors| panic!("{variables:?}\n{errors}"))
}

/// Traces and metrics with these variables beside the endpoint.
fn both(variables: Variables) -> (TraceSettings, PushSettings, Vec<String>) {
    let settings = good(&[&[ENDPOINT, METRICS], variables].concat());
    (settings.traces.expect("traces are on"), settings.metrics.expect("metrics are on"), settings.warnings)
}

fn urls(settings: &OtlpSettings) -> [Option<&str>; 2] {
    let traces = settings.traces.as_ref().map(|of| &of.endpoint);
    let metrics = settings.metrics.as_ref().map(|of| &of.endpoint);
    [traces, metrics].map(|endpoint| endpoint.map(|of| of.url.as_str()))
}

fn headers(endpoint: &OtlpEndpoint) -> Vec<(&str, &str)> {
    endpoint.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect()
}

#[test]
fn what_is_sent_where() {
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t/x?k=1");
    let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:9090");
    let local = Some("http://localhost:4318/v1/traces");
    let base = Some("http://h:4318/v1/traces");
    let cases: &[(Variables, [Option<&str>; 2])] = &[
        (&[], [None, None]),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], [None, None]),
        (&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")], [None, None]),
        (&[ENDPOINT], [base, None]),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318/")], [base, None]),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://h/otlp//")], [Some("https://h/otlp/v1/traces"), None]),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:hunter2@h/")], [Some("https://u:hunter2@h/v1/traces"), None]),
        (&[ENDPOINT, METRICS], [base, Some("http://h:4318/v1/metrics")]),
        (&[ENDPOINT, metrics], [base, Some("http://m:9090/")]),
        (&[ENDPOINT, traces], [Some("https://t/x?k=1"), None]),
        (&[traces], [Some("https://t/x?k=1"), None]),
        (&[metrics], [None, Some("http://m:9090/")]),
        (&[("OTEL_TRACES_EXPORTER", "otlp")], [local, None]),
        (&[METRICS], [None, Some("http://localhost:4318/v1/metrics")]),
        (&[METRICS, GRPC], [None, Some("http://localhost:4317/")]),
        (&[("OTEL_METRICS_EXPORTER", "Prometheus, otlp")], [None, Some("http://localhost:4318/v1/metrics")]),
        (&[metrics, ("OTEL_METRICS_EXPORTER", "prometheus")], [None, None]),
        (&[metrics, ("OTEL_METRICS_EXPORTER", "none")], [None, None]),
        (&[metrics, ("OTEL_METRICS_EXPORTER", "console")], [None, Some("http://m:9090/")]),
        (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], [None, None]),
        (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "zipkin")], [base, None]),
        (&[ENDPOINT, METRICS, ("OTEL_SDK_DISABLED", "TRUE")], [None, None]),
        (&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")], [base, None]),
        (&[ENDPOINT, ("OTEL_SDK_DISABLED", "1")], [base, None]),
        (&[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317")], [Some("http://h:4317/"), None]),
        (&[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://h:4317/x?y=z#w")], [Some("https://h:4317/"), None]),
        (&[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "h:4317")], [Some("https://h:4317/"), None]),
    ];
    for (variables, wanted) in cases {
        assert_eq!(urls(&good(variables)), *wanted, "{variables:?}");
    }
    let disabled = good(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]);
    assert!(disabled.warnings[0].starts_with("OTEL_SDK_DISABLED: it is true, so nothing is sent"), "{disabled:?}");
    assert!(good(&[("OTEL_SDK_DISABLED", "true")]).warnings.is_empty());
}

#[test]
fn insecure_decides_where_there_is_no_scheme() {
    let bare = [GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "h:4317"), METRICS];
    for (more, wanted) in [
        (&[("OTEL_EXPORTER_OTLP_INSECURE", "True")][..], ["http", "http"]),
        (&[("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true")], ["http", "https"]),
        (
            &[("OTEL_EXPORTER_OTLP_INSECURE", "true"), ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "false")],
            ["http", "https"],
        ),
    ] {
        let settings = good(&[&bare[..], more].concat());
        let schemes = urls(&settings).map(|url| url.and_then(|url| url.split(':').next()).unwrap_or_default());
        assert_eq!(schemes, wanted, "{more:?}");
    }
    let secure = good(&[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://h"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")]);
    assert_eq!(urls(&secure)[0], Some("https://h/"));
}

#[test]
fn nothing_said_is_the_default() {
    let (traces, metrics, warnings) = both(&[]);
    let endpoint = OtlpEndpoint::new(traces.endpoint.url.clone(), OtlpProtocol::HttpProtobuf);
    assert_eq!(format!("{:?}", traces.endpoint), format!("{endpoint:?}"));
    assert_eq!(traces.rows, Some(RowSpanSettings::default()));
    assert_eq!(traces.own, Some(Sampler { ratio: 1.0, parent_based: true }));
    assert_eq!((traces.propagate, traces.batch_spans), (true, 512));
    assert_eq!((metrics.interval, metrics.batch_points), (PushSettings::INTERVAL, PushSettings::BATCH_POINTS));
    assert_eq!((metrics.temporality, metrics.histograms), (Temporality::Cumulative, HistogramForm::Explicit));
    assert_eq!(warnings, [] as [String; 0]);
    assert_eq!(good(&[]).fingerprint(), OtlpSettings::default().fingerprint());
    assert_eq!(good(&[]).service_name, "rowmetry");
}

/// Each option with its value for all, that for one signal, and what they come to for traces and for metrics.
#[test]
fn every_option_of_a_receiver_has_a_variable_for_all_and_one_of_each_signal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [a, b] = ["a.pem", "b.pem"].map(|name| folder.path().join(name).display().to_string());
    for file in [&a, &b] {
        std::fs::write(file, "x").expect("writable");
    }
    let told = |endpoint: &OtlpEndpoint| {
        let file = |path: &PathBuf| path.display().to_string();
        let certificate = endpoint.client_certificate.as_ref().map(|(own, key)| [file(own), file(key)]);
        [
            ("PROTOCOL", endpoint.protocol.as_str().to_owned()),
            ("HEADERS", format!("{:?}", headers(endpoint))),
            ("COMPRESSION", endpoint.gzip.to_string()),
            ("TIMEOUT", format!("{:?}", endpoint.timeout)),
            ("CERTIFICATE", endpoint.ca_file.as_ref().map(file).unwrap_or_default()),
            ("CLIENT_CERTIFICATE", certificate.clone().map(|[own, _]| own).unwrap_or_default()),
            ("CLIENT_KEY", certificate.map(|[_, key]| key).unwrap_or_default()),
        ]
    };
    let secret = (r#"[("authorization", "Bearer a=,b"), ("x-k", "")]"#, "Authorization=Bearer%20a=%2Cb , x-k=,");
    for (option, [all, own], [of_all, of_own]) in [
        ("PROTOCOL", ["HTTP/protobuf", "grpc"], ["http/protobuf", "grpc"]),
        ("HEADERS", [secret.1, "a=b"], [secret.0, r#"[("a", "b")]"#]),
        ("COMPRESSION", ["gzip", "none"], ["true", "false"]),
        ("TIMEOUT", ["2500", "0"], ["2.5s", "3600s"]),
        ("CERTIFICATE", [&a, &b], [&a, &b]),
        ("CLIENT_CERTIFICATE", [&a, &b], [&a, &b]),
        ("CLIENT_KEY", [&b, &a], [&b, &a]),
    ] {
        for (signal, wanted) in [("TRACES", [of_own, of_all]), ("METRICS", [of_all, of_own])] {
            let general = format!("OTEL_EXPORTER_OTLP_{option}");
            let single = format!("OTEL_EXPORTER_OTLP_{signal}_{option}");
            // A certificate needs its key and the other way round.
            let other = match option {
                "CLIENT_CERTIFICATE" => "OTEL_EXPORTER_OTLP_CLIENT_KEY",
                _ => "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            };
            let other = option.starts_with("CLIENT").then_some((other, a.as_str()));
            let variables: Vec<_> =
                [(general.as_str(), all), (single.as_str(), own)].into_iter().chain(other).collect();
            let (traces, metrics, _) = both(&variables);
            for (endpoint, wanted) in [&traces.endpoint, &metrics.endpoint].into_iter().zip(wanted) {
                let told = told(endpoint);
                let (_, found) = told.iter().find(|(of, _)| *of == option).expect("every option is told");
                assert_eq!(found, wanted, "{variables:?}");
            }
        }
    }
}

#[test]
fn every_other_variable_has_its_effect() {
    let sampler = |name: &str, argument: &str| {
        both(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)]).0.own.expect("it is on")
    };
    for (name, argument, ratio, parent_based) in [
        ("always_on", "0.5", 1.0, false),
        ("always_off", "", 0.0, false),
        ("traceidratio", "0.25", 0.25, false),
        ("traceidratio", "", 1.0, false),
        ("parentbased_always_on", "", 1.0, true),
        ("parentbased_always_off", "", 0.0, true),
        ("ParentBased_TraceIdRatio", "0.5", 0.5, true),
        ("", "0.5", 1.0, true),
    ] {
        assert_eq!(sampler(name, argument), Sampler { ratio, parent_based }, "{name} {argument}");
    }
    for (words, propagate) in
        [("tracecontext,baggage", true), ("none", false), ("baggage", false), ("b3", true), ("b3, TraceContext", true)]
    {
        assert_eq!(both(&[("OTEL_PROPAGATORS", words)]).0.propagate, propagate, "{words}");
    }
    for (word, exemplars) in [("always_off", false), ("always_on", true), ("trace_based", true)] {
        let rows = both(&[("OTEL_METRICS_EXEMPLAR_FILTER", word)]).0.rows.expect("they are on");
        assert_eq!(rows.exemplars, exemplars, "{word}");
    }
    assert_eq!(both(&[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64")]).0.batch_spans, 64);
    assert_eq!(both(&[("OTEL_METRIC_EXPORT_INTERVAL", "1500")]).1.interval, Duration::from_millis(1500));
    for (variables, seconds) in [
        (&[("OTEL_METRIC_EXPORT_TIMEOUT", "30000")][..], 10),
        (&[("OTEL_METRIC_EXPORT_TIMEOUT", "5000")], 5),
        (&[("OTEL_METRIC_EXPORT_TIMEOUT", "30000"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "20000")], 20),
    ] {
        assert_eq!(both(variables).1.endpoint.timeout, Duration::from_secs(seconds), "{variables:?}");
    }
    assert_eq!(both(&[("OTEL_METRIC_EXPORT_TIMEOUT", "5000")]).0.endpoint.timeout, OtlpEndpoint::TIMEOUT);
    for (word, temporality) in
        [("Cumulative", Temporality::Cumulative), ("delta", Temporality::Delta), ("LowMemory", Temporality::Delta)]
    {
        let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        assert_eq!(both(&[(name, word)]).1.temporality, temporality, "{word}");
    }
    for (word, form) in [
        ("explicit_bucket_histogram", HistogramForm::Explicit),
        ("base2_exponential_bucket_histogram", HistogramForm::Exponential),
    ] {
        let name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        assert_eq!(both(&[(name, word)]).1.histograms, form, "{word}");
    }
    assert_eq!(good(&[("OTEL_LOG_LEVEL", "DEBUG")]).log_level.as_deref(), Some("debug"));
    let (traces, ..) = both(&[("OTEL_SEMCONV_STABILITY_OPT_IN", "database/dup, gen_ai_latest_experimental, x")]);
    assert_eq!(traces.rows.expect("they are on").gen_ai_names, GenAiNames::Latest);
}

#[test]
fn a_resource_has_the_attributes_and_the_name_of_the_variables() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop%20x, a%2Eb = c%2Cd=e ,,z=");
    let settings = good(&[attributes]);
    assert_eq!(settings.service_name, "shop x");
    let wanted: BTreeMap<String, String> = [("a.b".into(), "c,d=e".into()), ("z".into(), String::new())].into();
    assert_eq!(settings.resource, wanted);
    assert_eq!(good(&[attributes, ("OTEL_SERVICE_NAME", "own")]).service_name, "own");
    assert_eq!(good(&[attributes, ("OTEL_SERVICE_NAME", "")]).service_name, "shop x");
}

#[test]
fn what_nothing_can_be_sent_with_is_an_error() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let there = file.path().to_str().expect("UTF-8");
    let cases: &[(&str, &str, &str)] = &[
        ("ENDPOINT", "hunter2", "expected the receiver's URL, http://host:4318 or https://…"),
        ("ENDPOINT", "h:4318", "expected the receiver's URL"),
        ("ENDPOINT", "http://u:hunter2@h:hunter2", "expected the receiver's URL"),
        ("ENDPOINT", "ftp://u:hunter2@h", "expected the receiver's URL"),
        ("TRACES_ENDPOINT", "hunter2", "expected the receiver's URL"),
        ("HEADERS", "Bearer hunter2", "header 1: expected `name=value`"),
        ("HEADERS", "a=b,Bearer hunter2=x", "header 2: a header's name has letters"),
        ("HEADERS", "a=b,=hunter2", "header 2: a header's name has letters"),
        ("HEADERS", "a=b,A=hunter2", "header 2: another header has this name"),
        ("HEADERS", "a=hunter2%0ax", "header 1: a header's value has printable ASCII only"),
        ("HEADERS", "a=hunter2%ff", "header 1: its value is no UTF-8"),
        ("HEADERS", "a=hunter2%C3%A4", "header 1: a header's value has printable ASCII only"),
        ("HEADERS", "Content-Type=hunter2", "header 1: Rowmetry sets this header itself"),
        ("HEADERS", "grpc-timeout=hunter2", "header 1: Rowmetry sets this header itself"),
        ("TRACES_HEADERS", "hunter2", "header 1: expected `name=value`"),
        ("CERTIFICATE", "/hunter2", "there is no such file"),
        ("TRACES_CERTIFICATE", "/hunter2", "there is no such file"),
        ("CLIENT_CERTIFICATE", there, "its key is missing: set OTEL_EXPORTER_OTLP_CLIENT_KEY too"),
        (
            "TRACES_CLIENT_KEY",
            there,
            "its certificate is missing: set OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE too",
        ),
    ];
    for (option, value, wanted) in cases {
        let name = format!("OTEL_EXPORTER_OTLP_{option}");
        let told = read(&[(&name, value), ENDPOINT]).expect_err(value).to_string();
        assert!(told.starts_with(&format!("environment: {name}: {wanted}")), "{told}\nin place of {wanted}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    for target in ["unix:/hunter2", "dns:h:4317", "dns:///hunter2", "h/hunter2", "http://"] {
        let told = read(&[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", target)]).expect_err(target).to_string();
        assert!(told.contains("expected the gRPC receiver's http://host:4317"), "{told}");
    }
}

#[test]
fn every_error_is_told_at_once_and_once() {
    let told = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "hunter2"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/hunter2"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/hunter2"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/hunter2"),
        ("OTEL_TRACES_SAMPLER", "hunter2"),
    ])
    .expect_err("all of it is wrong");
    let mut places: Vec<&str> = told.0.iter().map(|complaint| complaint.place.as_str()).collect();
    places.sort_unstable();
    let wanted = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY", "ENDPOINT", "HEADERS", "METRICS_ENDPOINT"];
    assert_eq!(places, wanted.map(|option| format!("OTEL_EXPORTER_OTLP_{option}")));
}

#[test]
fn a_word_that_is_not_understood_gives_way_to_the_next_variable_and_to_the_default() {
    use OtlpProtocol::{Grpc, HttpProtobuf};
    for (own, all, protocol) in [
        ("http", "", HttpProtobuf),
        ("http/json", "http/json", HttpProtobuf),
        ("hunter2", "GRPC", Grpc),
        ("grpc", "hunter2", Grpc),
    ] {
        let variables = [("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", own), ("OTEL_EXPORTER_OTLP_PROTOCOL", all)];
        assert_eq!(both(&variables).0.endpoint.protocol, protocol, "{variables:?}");
    }
    for (own, all, gzip) in [("zstd", "gzip", true), ("", "deflate", false), ("none", "hunter2", false)] {
        let variables = [("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", own), ("OTEL_EXPORTER_OTLP_COMPRESSION", all)];
        assert_eq!(both(&variables).0.endpoint.gzip, gzip, "{variables:?}");
    }
}

#[test]
fn what_else_is_not_understood_is_a_warning_with_what_applies() {
    for (name, value, wanted) in [
        ("OTEL_SDK_DISABLED", "hunter2", "expected true or false; false applies"),
        ("OTEL_TRACES_EXPORTER", "otlp,hunter2", "one of its exporters is none of otlp, none and is ignored"),
        ("OTEL_METRICS_EXPORTER", "otlp,hunter2", "one of its exporters is none of otlp, none, prometheus"),
        ("OTEL_LOGS_EXPORTER", "otlp", "Rowmetry's log goes to standard error alone"),
        ("OTEL_TRACES_SAMPLER", "hunter2", "expected always_on, always_off or traceidratio"),
        ("OTEL_TRACES_SAMPLER", "parentbased_jaeger_remote", "expected always_on, always_off or traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "hunter2", "expected a share from 0 to 1, such as 0.25; 1 applies"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "expected a share from 0 to 1"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan", "expected a share from 0 to 1"),
        ("OTEL_PROPAGATORS", "tracecontext,hunter2", "of the propagators there are tracecontext, baggage and none"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "hunter2", "expected trace_based, always_on or always_off; trace_based"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "hunter2", "expected a whole number of spans from 1 to 10000; 512 applies"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", "expected a whole number of spans"),
        (
            "OTEL_METRIC_EXPORT_INTERVAL",
            "0",
            "expected a whole number of milliseconds from 1 to 2147483647; 1m applies",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60s", "expected a whole number of milliseconds"),
        (
            "OTEL_METRIC_EXPORT_TIMEOUT",
            "-1",
            "expected a whole number of milliseconds from 0 to 2147483647; 10s applies",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "10s",
            "expected a whole number of milliseconds from 0 to 2147483647; 10s applies",
        ),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "hunter2", "expected a whole number of milliseconds"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "JSON is not spoken; http/protobuf, which receivers take"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "hunter2", "expected http/protobuf or grpc; it is ignored"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "expected gzip or none; it is ignored"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "hunter2", "expected cumulative, delta or lowmemory"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "hunter2", "expected explicit_bucket_histogram"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,hunter2", "expected name=value,name=value in percent encoding; none of it"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c=hunter2%ff", "expected name=value"),
        ("OTEL_LOG_LEVEL", "hunter2", "expected none, error, warn, info, debug or trace"),
    ] {
        let variables = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), METRICS];
        let variables: Vec<_> =
            variables.into_iter().filter(|(of, _)| *of != name).chain([ENDPOINT, (name, value)]).collect();
        let settings = good(&variables);
        let warnings: Vec<&String> =
            settings.warnings.iter().filter(|told| told.starts_with(&format!("{name}: "))).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(wanted), "{warnings:?} in place of {name}: {wanted}");
        assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
        assert!(settings.resource.is_empty() && settings.log_level.is_none());
        assert_eq!(settings.traces.and_then(|of| of.own), Some(Sampler::default()), "{name}");
    }
    for quiet in ["none", "console"] {
        assert!(good(&[ENDPOINT, ("OTEL_LOGS_EXPORTER", quiet)]).warnings.is_empty());
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let there = file.path().to_str().expect("UTF-8");
    for (variables, wanted) in [
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317")][..], "port 4317 is by custom that of grpc"),
        (&[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318")], "port 4318 is by custom that of http/protobuf"),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h/v1/traces/")], "the base URL ends in v1/traces"),
        (&[GRPC, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h/hunter2")], "gRPC has no path; it is left out"),
        (&[ENDPOINT, ("OTEL_EXPORTER_OTLP_CERTIFICATE", there)], "it is http://, so nothing is encrypted"),
    ] {
        let warnings = good(variables).warnings;
        assert!(warnings.len() == 1 && warnings[0].starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: "), "{warnings:?}");
        assert!(warnings[0].contains(wanted), "{warnings:?}");
    }
}

#[test]
fn lines_tell_what_goes_where_and_no_secret() {
    let secret = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:hunter2@h/x?key=hunter2"), METRICS];
    let more = [("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")];
    let settings = good(&[secret, more].concat());
    assert_eq!(
        settings.lines(),
        [
            "spans of rows and Rowmetry's own traces go to https://h/x/v1/traces (http/protobuf, gzip)",
            "metrics are pushed every 1m to https://h (grpc)"
        ]
    );
    assert!(good(&[]).lines().is_empty());
}

#[test]
fn fingerprints_differ_where_anything_that_is_sent_does() {
    let base = both(&[]);
    let print = |traces: &TraceSettings, metrics: &PushSettings| {
        let (traces, metrics) = (Some(traces.clone()), Some(metrics.clone()));
        OtlpSettings { traces, metrics, ..OtlpSettings::default() }.fingerprint()
    };
    let bare = print(&base.0, &base.1);
    for variables in [
        [("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2")],
        [("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=hunter2")],
        [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://hunter2@h:4318/v1/traces")],
        [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")],
        [("OTEL_TRACES_SAMPLER", "always_off")],
        [("OTEL_METRIC_EXPORT_INTERVAL", "1000")],
    ] {
        let (traces, metrics, _) = both(&variables);
        assert_ne!(print(&traces, &metrics), bare, "{variables:?}");
        let again = both(&variables);
        assert_eq!(print(&again.0, &again.1), print(&traces, &metrics));
    }
    let one = both(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2")]);
    let other = both(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter3")]);
    assert_ne!(print(&one.0, &one.1), print(&other.0, &other.1));
}
