//! Our own traces: the SDK's exporter over the same transport.
