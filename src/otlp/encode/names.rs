//! Names of attributes that differ between generations of OpenTelemetry's conventions.
