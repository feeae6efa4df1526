//! From the file and the variables to [`OtlpSettings`]: what is sent, and how.
//!
//! The file goes before the variables, as configuration in code does by OpenTelemetry's "Environment Variable Specification";
//! they fill what it leaves open. What nothing could be sent with is an error, the rest of what is not understood a warning.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::reading::{Place, Reading};
use super::receiver::{self, Signal};
use super::{
    GenAiNames, HistogramForm, OtlpSettings, PushSettings, RowSpanSettings, Sampler, Temporality, TraceSettings,
};
use crate::config::raw::RawOtlp;

/// Spans in one request at most, whoever says how many: at about a kilobyte each, more than gRPC receivers take at once.
const BATCH_SPANS_LIMIT: u64 = 10_000;

/// The attribute that has a setting and a variable of its own.
const SERVICE_NAME: &str = "service.name";

/// What is sent, and what is wrong with how it was said.
pub(in crate::config) fn resolve(
    raw: &RawOtlp,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (OtlpSettings, Vec<(Place, String)>) {
    let mut resolve = Resolve { raw, reading: Reading::new(variable) };
    let settings = resolve.all();
    (OtlpSettings { warnings: resolve.reading.warnings, ..settings }, resolve.reading.errors)
}

struct Resolve<'r, 'v> {
    raw: &'r RawOtlp,
    reading: Reading<'v>,
}

/// What `OTEL_…_EXPORTER` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exporter {
    /// Nothing that is understood.
    Unset,
    Otlp,
    /// Others, or none at all.
    NotOtlp,
}

impl Resolve<'_, '_> {
    fn all(&mut self) -> OtlpSettings {
        receiver::look_at_file(self.raw, &mut self.reading);
        let is_disabled = self.reading.is_true("OTEL_SDK_DISABLED");
        let (rows, own) = self.wants_traces();
        let push = self.wants_metrics();
        if self.reading.words("OTEL_LOGS_EXPORTER").iter().any(|word| word == "otlp") {
            self.reading.warning("OTEL_LOGS_EXPORTER", "Rowmetry's log goes to standard error alone; none applies");
        }
        if is_disabled && (rows || own || push) {
            self.reading.warning("OTEL_SDK_DISABLED", "it is true, so nothing is sent by OTLP, whatever else is set");
        }
        let (service_name, resource) = self.resource();
        OtlpSettings {
            service_name,
            resource,
            traces: if is_disabled { None } else { self.traces(rows, own) },
            metrics: if push && !is_disabled { self.metrics() } else { None },
            log_level: self.log_level(),
            warnings: Vec::new(),
        }
    }

    /// Whether spans of rows are sent, and whether our own.
    fn wants_traces(&mut self) -> (bool, bool) {
        let is_named = receiver::is_named_in_file(self.raw, Signal::Traces).contains(&true);
        let by_default = match self.exporter("OTEL_TRACES_EXPORTER", &[]) {
            Exporter::Otlp => true,
            Exporter::NotOtlp => {
                let is_open = self.raw.traces.rows.or(self.raw.traces.own).is_none();
                if is_open && is_named {
                    self.reading.warning(
                        "OTEL_TRACES_EXPORTER",
                        "no traces are sent, although the file names a receiver; `otlp.traces.rows` and `otlp.traces.own` go before it",
                    );
                }
                false
            }
            Exporter::Unset => {
                let variables = Signal::Traces.variables("ENDPOINT");
                is_named || variables.iter().any(|name| self.reading.text(name).is_some())
            }
        };
        let raw = &self.raw.traces;
        (raw.rows.unwrap_or(by_default), raw.own.unwrap_or(by_default))
    }

    /// Metrics are on `/metrics` already, so an endpoint that is not for them alone does not have them pushed.
    fn wants_metrics(&mut self) -> bool {
        let [is_named, _] = receiver::is_named_in_file(self.raw, Signal::Metrics);
        let by_default = match self.exporter("OTEL_METRICS_EXPORTER", &["prometheus"]) {
            Exporter::Otlp => true,
            Exporter::NotOtlp => {
                if self.raw.metrics.push.is_none() && is_named {
                    self.reading.warning(
                        "OTEL_METRICS_EXPORTER",
                        "no metrics are pushed, although the file names a receiver for them; `otlp.metrics.push` goes before it",
                    );
                }
                false
            }
            Exporter::Unset => {
                let [variable, _] = Signal::Metrics.variables("ENDPOINT");
                is_named || self.reading.text(&variable).is_some()
            }
        };
        self.raw.metrics.push.unwrap_or(by_default)
    }

    /// `others`: further exporters that there are. What is not understood is ignored.
    fn exporter(&mut self, name: &str, others: &[&str]) -> Exporter {
        let mut exporter = Exporter::Unset;
        for word in self.reading.words(name) {
            if word == "otlp" {
                exporter = Exporter::Otlp;
            } else if word == "none" || others.contains(&word.as_str()) {
                exporter = if exporter == Exporter::Otlp { Exporter::Otlp } else { Exporter::NotOtlp };
            } else {
                let known: Vec<&str> = ["otlp", "none"].iter().chain(others).copied().collect();
                let known = known.join(", ");
                self.reading.warning(name, format!("one of its exporters is none of {known} and is ignored"));
            }
        }
        exporter
    }

    fn traces(&mut self, rows: bool, own: bool) -> Option<TraceSettings> {
        if !rows && !own {
            return None;
        }
        let endpoint = receiver::of(self.raw, Signal::Traces, &mut self.reading);
        let rows = rows.then(|| self.rows());
        let own = own.then(|| self.sampler());
        let (propagate, batch_spans) = (self.propagates(), self.batch_spans());
        endpoint.map(|endpoint| TraceSettings { endpoint, rows, own, propagate, batch_spans })
    }

    fn rows(&mut self) -> RowSpanSettings {
        let raw = &self.raw.traces;
        let default = RowSpanSettings::default();
        RowSpanSettings {
            queue_limit: raw.queue_spans.map_or(default.queue_limit, u64::from),
            // `gen_ai_latest_experimental` in OTEL_SEMCONV_STABILITY_OPT_IN asks for what is the default here.
            gen_ai_names: raw.gen_ai_names.as_deref().map_or(default.gen_ai_names, |word| match word {
                "v1.41" => GenAiNames::V1_41,
                "v1.36" => GenAiNames::V1_36,
                _ => GenAiNames::Latest,
            }),
            services: raw.services.clone(),
            exemplars: raw.exemplars.unwrap_or_else(|| self.exemplars().unwrap_or(default.exemplars)),
        }
    }

    fn exemplars(&mut self) -> Option<bool> {
        let name = "OTEL_METRICS_EXEMPLAR_FILTER";
        match self.reading.word(name)?.as_str() {
            "always_off" => Some(false),
            "always_on" | "trace_based" => Some(true),
            _ => {
                self.reading.warning(name, "expected trace_based, always_on or always_off; trace_based applies");
                None
            }
        }
    }

    /// What the variable says, with the file's share in place of its own.
    fn sampler(&mut self) -> Sampler {
        let sampler = self.sampler_of_variable();
        Sampler { ratio: self.raw.traces.sample_ratio.unwrap_or(sampler.ratio), ..sampler }
    }

    fn sampler_of_variable(&mut self) -> Sampler {
        let name = "OTEL_TRACES_SAMPLER";
        let Some(word) = self.reading.word(name) else { return Sampler::default() };
        let (parent_based, root) = match word.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, word.as_str()),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.sampler_argument(),
            _ => {
                self.reading.warning(
                    name,
                    "expected always_on, always_off or traceidratio, with or without parentbased_ before it; \
                     parentbased_always_on applies",
                );
                return Sampler::default();
            }
        };
        Sampler { ratio, parent_based }
    }

    fn sampler_argument(&mut self) -> f64 {
        let name = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.reading.text(name) else { return 1.0 };
        text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or_else(|| {
            self.reading.warning(name, "expected a share from 0 to 1, such as 0.25; 1 applies");
            1.0
        })
    }

    /// Baggage is of no use here: it is accepted and not sent.
    fn propagates(&mut self) -> bool {
        let name = "OTEL_PROPAGATORS";
        let words = self.reading.words(name);
        let known = |word: &String| ["tracecontext", "baggage", "none"].contains(&word.as_str());
        if !words.iter().all(known) {
            self.reading.warning(
                name,
                "of the propagators there are tracecontext, baggage and none; others are ignored, and without any tracecontext applies",
            );
        }
        !words.iter().any(known) || words.iter().any(|word| word == "tracecontext")
    }

    fn batch_spans(&mut self) -> usize {
        let default = TraceSettings::BATCH_SPANS;
        let spans = self.raw.traces.batch_spans.map(u64::from).or_else(|| {
            self.reading.whole("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=BATCH_SPANS_LIMIT, " of spans", default)
        });
        spans.and_then(|spans| usize::try_from(spans).ok()).unwrap_or(default)
    }

    fn metrics(&mut self) -> Option<PushSettings> {
        let endpoint = receiver::of(self.raw, Signal::Metrics, &mut self.reading);
        let interval = match &self.raw.metrics.interval {
            Some(text) => {
                let interval = crate::duration::parse(text).unwrap_or(PushSettings::INTERVAL);
                if interval.is_zero() {
                    let place = ["otlp", "metrics", "interval"].map(str::to_owned).to_vec();
                    self.reading.error(Place::Setting(place), "expected a length of time above zero");
                }
                interval
            }
            None => self
                .reading
                .interval("OTEL_METRIC_EXPORT_INTERVAL", PushSettings::INTERVAL)
                .unwrap_or(PushSettings::INTERVAL),
        };
        let (temporality, histograms) = (self.temporality(), self.histograms());
        let batch_points = PushSettings::BATCH_POINTS;
        endpoint.map(|endpoint| PushSettings { endpoint, interval, temporality, histograms, batch_points })
    }

    /// `lowmemory` asks for deltas of what is counted as it happens, which all our counters and histograms are
    /// ("Metrics Exporter - OTLP").
    fn temporality(&mut self) -> Temporality {
        let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let said = self.raw.metrics.temporality.clone().or_else(|| self.reading.word(name));
        match said.as_deref() {
            Some("delta" | "lowmemory") => Temporality::Delta,
            None | Some("cumulative") => Temporality::Cumulative,
            Some(_) => {
                self.reading.warning(name, "expected cumulative, delta or lowmemory; cumulative applies");
                Temporality::Cumulative
            }
        }
    }

    fn histograms(&mut self) -> HistogramForm {
        let name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        let said = self.raw.metrics.histograms.clone().or_else(|| self.reading.word(name));
        match said.as_deref() {
            Some("exponential" | "base2_exponential_bucket_histogram") => HistogramForm::Exponential,
            None | Some("explicit" | "explicit_bucket_histogram") => HistogramForm::Explicit,
            Some(_) => {
                self.reading.warning(
                    name,
                    "expected explicit_bucket_histogram or base2_exponential_bucket_histogram; \
                     explicit_bucket_histogram applies",
                );
                HistogramForm::Explicit
            }
        }
    }

    /// The service's name, and the other attributes; the file's own go before those of the variable of the same name.
    fn resource(&mut self) -> (String, BTreeMap<String, String>) {
        let place = |key: &str| Place::Setting(vec!["otlp".into(), key.into()]);
        let mut attributes = self.attributes_of_variable();
        let named = attributes.remove(SERVICE_NAME);
        for (name, value) in &self.raw.resource {
            if name == SERVICE_NAME {
                self.reading.error(place("resource"), "write `service.name` as the setting `service_name` of `otlp`");
            }
            attributes.insert(name.clone(), value.clone());
        }
        if self.raw.service_name.as_deref().is_some_and(|name| name.trim().is_empty()) {
            self.reading.error(place("service_name"), "the name is empty; write one, or remove the setting");
        }
        let service_name = self.raw.service_name.clone();
        let service_name = service_name.or_else(|| self.reading.text("OTEL_SERVICE_NAME")).or(named);
        (service_name.unwrap_or_else(|| OtlpSettings::SERVICE_NAME.to_owned()), attributes)
    }

    /// `name=value,name=value` in percent encoding. What cannot be read is ignored as a whole ("Resource SDK", "Specifying
    /// resource information via an environment variable").
    fn attributes_of_variable(&mut self) -> BTreeMap<String, String> {
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let Some(text) = self.reading.text(name) else { return BTreeMap::new() };
        let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(String::from);
        let entries = text.split(',').filter(|entry| !entry.trim().is_empty());
        let attributes: Option<BTreeMap<String, String>> = entries
            .map(|entry| {
                let (name, value) = entry.split_once('=')?;
                Some((decoded(name).filter(|name| !name.is_empty())?, decoded(value)?))
            })
            .collect();
        attributes.unwrap_or_else(|| {
            self.reading.warning(name, "expected name=value,name=value in percent encoding; none of it applies");
            BTreeMap::new()
        })
    }

    fn log_level(&mut self) -> Option<String> {
        let name = "OTEL_LOG_LEVEL";
        let level = self.reading.word(name)?;
        if ["none", "error", "warn", "info", "debug", "trace"].contains(&level.as_str()) {
            return Some(level);
        }
        self.reading.warning(name, "expected none, error, warn, info, debug or trace; it is ignored");
        None
    }
}
