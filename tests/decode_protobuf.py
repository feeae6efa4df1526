"""Reads delimited io.prometheus.client.MetricFamily messages from standard input and prints them as JSON.

The message types are written here from Prometheus' published metrics.proto, and decoded by Google's own protobuf: no
line is shared with the encoder. Unknown fields, wrong wire types and cut messages are errors.
"""

import json
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf import unknown_fields as unknown
from google.protobuf.internal.decoder import _DecodeVarint32

FIELD = descriptor_pb2.FieldDescriptorProto
TYPES = {
    "double": FIELD.TYPE_DOUBLE,
    "uint64": FIELD.TYPE_UINT64,
    "uint32": FIELD.TYPE_UINT32,
    "int64": FIELD.TYPE_INT64,
    "int32": FIELD.TYPE_INT32,
    "sint32": FIELD.TYPE_SINT32,
    "sint64": FIELD.TYPE_SINT64,
    "string": FIELD.TYPE_STRING,
}

# name: [(number, type, name)]; "*" before the type: repeated.
MESSAGES = {
    "LabelPair": [(1, "string", "name"), (2, "string", "value")],
    "Gauge": [(1, "double", "value")],
    "Counter": [(1, "double", "value"), (2, "Exemplar", "exemplar"), (3, "Timestamp", "created_timestamp")],
    "Quantile": [(1, "double", "quantile"), (2, "double", "value")],
    "Summary": [
        (1, "uint64", "sample_count"),
        (2, "double", "sample_sum"),
        (3, "*Quantile", "quantile"),
        (4, "Timestamp", "created_timestamp"),
    ],
    "Untyped": [(1, "double", "value")],
    "Bucket": [
        (1, "uint64", "cumulative_count"),
        (2, "double", "upper_bound"),
        (3, "Exemplar", "exemplar"),
        (4, "double", "cumulative_count_float"),
    ],
    "BucketSpan": [(1, "sint32", "offset"), (2, "uint32", "length")],
    "Exemplar": [(1, "*LabelPair", "label"), (2, "double", "value"), (3, "Timestamp", "timestamp")],
    "Timestamp": [(1, "int64", "seconds"), (2, "int32", "nanos")],
    "Histogram": [
        (1, "uint64", "sample_count"),
        (4, "double", "sample_count_float"),
        (2, "double", "sample_sum"),
        (3, "*Bucket", "bucket"),
        (15, "Timestamp", "created_timestamp"),
        (5, "sint32", "schema"),
        (6, "double", "zero_threshold"),
        (7, "uint64", "zero_count"),
        (8, "double", "zero_count_float"),
        (9, "*BucketSpan", "negative_span"),
        (10, "*sint64", "negative_delta"),
        (11, "*double", "negative_count"),
        (12, "*BucketSpan", "positive_span"),
        (13, "*sint64", "positive_delta"),
        (14, "*double", "positive_count"),
        (16, "*Exemplar", "exemplars"),
    ],
    "Metric": [
        (1, "*LabelPair", "label"),
        (2, "Gauge", "gauge"),
        (3, "Counter", "counter"),
        (4, "Summary", "summary"),
        (5, "Untyped", "untyped"),
        (7, "Histogram", "histogram"),
        (6, "int64", "timestamp_ms"),
    ],
    "MetricFamily": [
        (1, "string", "name"),
        (2, "string", "help"),
        (3, "MetricType", "type"),
        (4, "*Metric", "metric"),
        (5, "string", "unit"),
    ],
}
METRIC_TYPES = ["COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"]


def metric_family_class():
    package = "io.prometheus.client"
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package=package, syntax="proto2")
    enum = file.enum_type.add(name="MetricType")
    for number, name in enumerate(METRIC_TYPES):
        enum.value.add(name=name, number=number)
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, kind, name in fields:
            label = FIELD.LABEL_REPEATED if kind.startswith("*") else FIELD.LABEL_OPTIONAL
            kind = kind.lstrip("*")
            field = message.field.add(name=name, number=number, label=label)
            if kind in TYPES:
                field.type = TYPES[kind]
            else:
                field.type = FIELD.TYPE_ENUM if kind == "MetricType" else FIELD.TYPE_MESSAGE
                field.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.MetricFamily"))


def refuse_unknown(message):
    if len(unknown.UnknownFieldSet(message)):
        sys.exit(f"{message.DESCRIPTOR.name} has fields that metrics.proto does not: {message}")
    for field, value in message.ListFields():
        if field.type == FIELD.TYPE_MESSAGE:
            for child in value if field.is_repeated else [value]:
                refuse_unknown(child)


def main():
    data = sys.stdin.buffer.read()
    family_class = metric_family_class()
    families, position = [], 0
    while position < len(data):
        length, position = _DecodeVarint32(data, position)
        if position + length > len(data):
            sys.exit(f"the message at byte {position} is cut: {length} bytes announced, {len(data) - position} there")
        family = family_class()
        try:
            family.ParseFromString(data[position : position + length])
        except Exception as error:
            sys.exit(f"the message at byte {position} is no MetricFamily: {error}")
        refuse_unknown(family)
        families.append(json_format.MessageToDict(family, preserving_proto_field_name=True))
        position += length
    if not families:
        sys.exit("there is no family in it")
    json.dump(families, sys.stdout)


main()
