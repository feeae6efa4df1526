//! The page of the manual about spans made of rows, made from the packs.

use std::fmt::Write;

use super::{MADE_BY, code, code_list, reads, row};
use crate::pack::{Pack, Span};
use crate::span::SpanKind;

/// Every span that the given packs make, as Markdown.
pub fn spans<'p>(packs: impl IntoIterator<Item = &'p Pack>) -> String {
    let mut page = format!("{MADE_BY}# Spans of the built-in packs\n\n");
    page.push_str(
        "One of each for a row or log line that is counted, sent by OTLP where `otlp` or OpenTelemetry's variables say where to. `service.name` is the pack's name \
         unless `otlp.traces.services` says otherwise. An attribute whose column is NULL is left out; a span of work that failed has the status error and \
         `error.type`. Spans of one trace may come at any time and in any order.\n",
    );
    for pack in packs.into_iter().filter(|pack| pack.collectors.iter().any(|of| !of.spans.is_empty())) {
        let _ = write!(page, "\n## {} (`{}`)\n\n", pack.title, pack.app);
        page.push_str("| Span | Kind | Trace | Attributes | Collector | Reads |\n|---|---|---|---|---|---|\n");
        for collector in &pack.collectors {
            for span in &collector.spans {
                let attributes: Vec<&String> = span.attributes.keys().collect();
                let cells = [
                    &code(&span.name),
                    kind(span.kind),
                    &trace(span),
                    &code_list(&attributes),
                    &code(&collector.name),
                    &reads(collector),
                ];
                row(&mut page, cells);
            }
        }
    }
    page
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

fn trace(span: &Span) -> String {
    match (&span.trace, &span.parent) {
        (_, Some(parent)) => format!("part of {}", code(parent)),
        (Some(trace), _) if trace.root => format!("the {} itself", trace.of),
        (Some(trace), _) => format!("part of the {}", trace.of),
        (None, _) => "its own".to_owned(),
    }
}
