"""Receives OTLP over gRPC and HTTP/protobuf, with software that Rowmetry's authors did not write: grpcio and protobuf.

Usage: otlp_receiver.py --out FILE. It prints {"http": PORT, "grpc": PORT} as one line when it listens on 127.0.0.1, and
appends each span and each data point that it receives to the file as one line of JSON. Ids are hex, times are Unix
nanoseconds, enumerations are their numbers. It accepts whatever decodes, and runs until it is killed.
"""

import argparse
import gzip
import json
import math
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

MOST_BODY = 64 << 20  # bytes


def double(number):
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def value_of(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return {"bytes": value.bytes_value.hex()}
    if kind == "double_value":
        return double(value.double_value)
    return getattr(value, kind) if kind in ("string_value", "bool_value", "int_value") else None


def attributes(pairs):
    return {pair.key: value_of(pair.value) for pair in pairs}


def texts(pairs):
    def text(value):
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    return {key: text(value) for key, value in attributes(pairs).items()}


def scope_of(scope):
    return {"name": scope.name, "version": scope.version}


def spans(request):
    for of_resource in request.resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield {
                    "signal": "span",
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex(),
                    "trace_state": span.trace_state,
                    "flags": span.flags,
                    "name": span.name,
                    "kind": span.kind,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "events": [
                        {"time": event.time_unix_nano, "name": event.name, "attributes": attributes(event.attributes)}
                        for event in span.events
                    ],
                    "links": [
                        {
                            "trace_id": link.trace_id.hex(),
                            "span_id": link.span_id.hex(),
                            "trace_state": link.trace_state,
                            "attributes": attributes(link.attributes),
                        }
                        for link in span.links
                    ],
                    "status": {"code": span.status.code, "message": span.status.message},
                    "scope": scope_of(of_scope.scope),
                    "resource": texts(of_resource.resource.attributes),
                }


def number(point):
    kind = point.WhichOneof("value")
    return double(point.as_double) if kind == "as_double" else point.as_int if kind == "as_int" else None


def maybe(point, field):
    return double(getattr(point, field)) if point.HasField(field) else None


def exemplar(one):
    return {
        "time": one.time_unix_nano,
        "trace_id": one.trace_id.hex(),
        "span_id": one.span_id.hex(),
        "value": number(one),
        "attributes": attributes(one.filtered_attributes),
    }


def side(buckets):
    return {"offset": buckets.offset, "counts": list(buckets.bucket_counts)}


def point_of(kind, point):
    fields = {
        "attributes": attributes(point.attributes),
        "start": point.start_time_unix_nano,
        "time": point.time_unix_nano,
        "flags": point.flags,
    }
    if kind != "summary":
        fields["exemplars"] = [exemplar(one) for one in point.exemplars]
    if kind in ("gauge", "sum"):
        return fields | {"value": number(point)}
    fields["count"] = point.count
    if kind == "summary":
        quantiles = [[double(one.quantile), double(one.value)] for one in point.quantile_values]
        return fields | {"sum": double(point.sum), "quantiles": quantiles}
    fields |= {field: maybe(point, field) for field in ("sum", "min", "max")}
    if kind == "histogram":
        bounds = [double(bound) for bound in point.explicit_bounds]
        return fields | {"bounds": bounds, "counts": list(point.bucket_counts)}
    return fields | {
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": double(point.zero_threshold),
        "positive": side(point.positive),
        "negative": side(point.negative),
    }


def points(request):
    for of_resource in request.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is None:
                    continue
                data = getattr(metric, kind)
                for point in data.data_points:
                    yield {
                        "signal": "metric",
                        "name": metric.name,
                        "unit": metric.unit,
                        "description": metric.description,
                        "type": kind,
                        "temporality": getattr(data, "aggregation_temporality", 0),
                        "monotonic": getattr(data, "is_monotonic", False),
                        "scope": scope_of(of_scope.scope),
                        "resource": texts(of_resource.resource.attributes),
                    } | point_of(kind, point)


class Out:
    """The file; all lines of a request are written at once."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")
        self.lock = threading.Lock()

    def write(self, lines):
        text = "".join(json.dumps(line, allow_nan=False, ensure_ascii=False) + "\n" for line in lines)
        with self.lock:
            self.file.write(text)
            self.file.flush()


def serve_grpc(out):
    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):
            out.write(spans(request))
            return trace_service_pb2.ExportTraceServiceResponse()

    class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
        def Export(self, request, context):
            out.write(points(request))
            return metrics_service_pb2.ExportMetricsServiceResponse()

    options = [("grpc.max_receive_message_length", MOST_BODY)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=options)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def serve_http(out):
    kinds = {
        "/v1/traces": (trace_service_pb2.ExportTraceServiceRequest, spans),
        "/v1/metrics": (metrics_service_pb2.ExportMetricsServiceRequest, points),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            length = int(self.headers.get("Content-Length", "-1"))
            if not 0 <= length <= MOST_BODY:
                self.close_connection = True
                return self.say(411 if length < 0 else 413)
            body = self.rfile.read(length)
            kind, lines = kinds.get(self.path, (None, None))
            if kind is None:
                return self.say(404)
            if self.headers.get("Content-Type") != "application/x-protobuf":
                return self.say(415)
            encoding = self.headers.get("Content-Encoding", "identity")
            if encoding not in ("identity", "gzip"):
                return self.say(415)
            try:
                request = kind.FromString(gzip.decompress(body) if encoding == "gzip" else body)
            except (DecodeError, OSError, EOFError):
                return self.say(400)
            out.write(lines(request))
            # An answer without a partial success is an empty message.
            self.say(200)

        def say(self, status):
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    out = Out(parser.parse_args().out)
    server, grpc_port = serve_grpc(out)
    http = serve_http(out)
    print(json.dumps({"http": http.server_address[1], "grpc": grpc_port}), flush=True)
    http.serve_forever()


main()
