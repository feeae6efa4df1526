//! Published families as OTLP has them.
