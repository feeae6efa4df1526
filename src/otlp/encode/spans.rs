//! Spans of rows as OTLP has them, with the application as their resource.
