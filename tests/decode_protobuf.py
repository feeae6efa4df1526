"""Reads delimited io.prometheus.client.MetricFamily messages by a definition of its own.

Usage: decode_protobuf.py [--json] < body. The descriptors are built here, from client_model's metrics.proto, and share nothing
with the encoder under test. Unknown fields and trailing bytes are errors. Prints the messages as text, and the native
buckets with their absolute counts; or one list of messages as JSON.
"""

import json
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format, timestamp_pb2
from google.protobuf import unknown_fields

PACKAGE = "io.prometheus.client"
KIND = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": KIND.TYPE_STRING,
    "double": KIND.TYPE_DOUBLE,
    "uint64": KIND.TYPE_UINT64,
    "uint32": KIND.TYPE_UINT32,
    "sint32": KIND.TYPE_SINT32,
    "sint64": KIND.TYPE_SINT64,
    "int64": KIND.TYPE_INT64,
}
MESSAGES = {
    "LabelPair": [("name", 1, "string"), ("value", 2, "string")],
    "Gauge": [("value", 1, "double")],
    "Exemplar": [("label", 1, "*LabelPair"), ("value", 2, "double"), ("timestamp", 3, "Timestamp")],
    "Counter": [("value", 1, "double"), ("exemplar", 2, "Exemplar"), ("created_timestamp", 3, "Timestamp")],
    "Bucket": [("cumulative_count", 1, "uint64"), ("upper_bound", 2, "double"), ("exemplar", 3, "Exemplar")],
    "BucketSpan": [("offset", 1, "sint32"), ("length", 2, "uint32")],
    "Histogram": [
        ("sample_count", 1, "uint64"),
        ("sample_sum", 2, "double"),
        ("bucket", 3, "*Bucket"),
        ("schema", 5, "sint32"),
        ("zero_threshold", 6, "double"),
        ("zero_count", 7, "uint64"),
        ("negative_span", 9, "*BucketSpan"),
        ("negative_delta", 10, "*sint64"),
        ("positive_span", 12, "*BucketSpan"),
        ("positive_delta", 13, "*sint64"),
        ("created_timestamp", 15, "Timestamp"),
        ("exemplars", 16, "*Exemplar"),
    ],
    "Metric": [
        ("label", 1, "*LabelPair"),
        ("gauge", 2, "Gauge"),
        ("counter", 3, "Counter"),
        ("histogram", 7, "Histogram"),
        ("timestamp_ms", 6, "int64"),
    ],
    "MetricFamily": [("name", 1, "string"), ("help", 2, "string"), ("type", 3, "!MetricType"), ("metric", 4, "*Metric")],
}
TYPES = {"COUNTER": 0, "GAUGE": 1, "SUMMARY": 2, "UNTYPED": 3, "HISTOGRAM": 4, "GAUGE_HISTOGRAM": 5}


def family_class():
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package=PACKAGE, syntax="proto2")
    file.dependency.append("google/protobuf/timestamp.proto")
    enum = file.enum_type.add(name="MetricType")
    for name, number in TYPES.items():
        enum.value.add(name=name, number=number)
    for message, fields in MESSAGES.items():
        descriptor = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = descriptor.field.add(name=name, number=number, label=KIND.LABEL_OPTIONAL)
            if kind.startswith("*"):
                field.label, kind = KIND.LABEL_REPEATED, kind[1:]
            if kind in SCALARS:
                field.type = SCALARS[kind]
            elif kind.startswith("!"):
                field.type, field.type_name = KIND.TYPE_ENUM, f".{PACKAGE}.{kind[1:]}"
            else:
                scope = "google.protobuf" if kind == "Timestamp" else PACKAGE
                field.type, field.type_name = KIND.TYPE_MESSAGE, f".{scope}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.MetricFamily"))


def frames(body):
    at = 0
    while at < len(body):
        length = shift = 0
        while True:
            byte = body[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if at + length > len(body):
            sys.exit(f"the message at byte {at} is cut off")
        yield body[at : at + length]
        at += length


def refuse_unknown(message):
    if len(unknown_fields.UnknownFieldSet(message)):
        numbers = [field.field_number for field in unknown_fields.UnknownFieldSet(message)]
        sys.exit(f"unknown fields {numbers} in {message.DESCRIPTOR.name}")
    for field, value in message.ListFields():
        if field.type == KIND.TYPE_MESSAGE:
            many = not hasattr(value, "ListFields")
            for one in value if many else [value]:
                refuse_unknown(one)


def native_buckets(spans, deltas):
    buckets, index, count, deltas = {}, 0, 0, list(deltas)
    for span in spans:
        index += span.offset
        for _ in range(span.length):
            count += deltas.pop(0)
            buckets[index] = count
            index += 1
    if deltas:
        sys.exit("more deltas than the spans have buckets")
    return buckets


def main():
    sys.stdout.reconfigure(encoding="utf-8")
    family_type = family_class()
    families = []
    for frame in frames(sys.stdin.buffer.read()):
        family = family_type.FromString(frame)
        refuse_unknown(family)
        if "--json" in sys.argv:
            families.append(json_format.MessageToDict(family, preserving_proto_field_name=True))
            continue
        print(text_format.MessageToString(family, as_utf8=True))
        for metric in family.metric:
            histogram = metric.histogram
            if histogram.positive_span or histogram.negative_span:
                print("# positive", native_buckets(histogram.positive_span, histogram.positive_delta))
                print("# negative", native_buckets(histogram.negative_span, histogram.negative_delta))
    if "--json" in sys.argv:
        json.dump(families, sys.stdout)


main()
