"""Builds and serialises OTLP log requests with software that Rowmetry's authors did not write: opentelemetry-proto and protobuf.

It reads {"answers": [BASE64, …]}, answers to such requests, and prints {"protobuf": BASE64, "json": REQUEST, "answers": [{"rejected":
NUMBER, "message": TEXT, "partial": TRUTH}, …]}: one request in both encodings, and what the answers say.
"""

import base64
import json
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

TIME = 1_760_000_000_123_456_789  # nanoseconds since 1970


def pair(to, name, **value):
    added = to.add()
    added.key = name
    for kind, held in value.items():
        setattr(added.value, kind, held)
    return added.value


def request():
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add()
    of_resource.schema_url = "https://opentelemetry.io/schemas/1.30.0"
    pair(of_resource.resource.attributes, "service.name", string_value="shop")
    pair(of_resource.resource.attributes, "host.cpus", int_value=4)
    of_scope = of_resource.scope_logs.add()
    of_scope.scope.name = "my.logger"

    full = of_scope.log_records.add(time_unix_nano=TIME, observed_time_unix_nano=TIME + 1, severity_number=17)
    full.severity_text = "ERROR"
    full.body.string_value = "payment failed: čaša 🦀\n"
    full.trace_id, full.span_id = bytes(range(16)), bytes(range(8, 16))
    full.flags = 1
    full.dropped_attributes_count = 2
    pair(full.attributes, "http.response.status_code", int_value=503)
    pair(full.attributes, "a/b~c", double_value=0.5)
    pair(full.attributes, "raw", bytes_value=b"\x00\xff\x10")
    pair(full.attributes, "empty")
    values = pair(full.attributes, "list").array_value.values
    values.add().bool_value = True
    values.add().int_value = -(1 << 63)
    pair(pair(full.attributes, "nested").kvlist_value.values, "in.ner", string_value="x")

    # An object as the body, seen but of an unknown time.
    event = of_scope.log_records.add(observed_time_unix_nano=TIME, severity_number=9, event_name="job.done")
    pair(event.body.kvlist_value.values, "event", string_value="job_done")
    pair(event.body.kvlist_value.values, "ms", double_value=12.5)

    # No time at all, twice the same.
    for _ in range(2):
        of_scope.log_records.add(time_unix_nano=0, observed_time_unix_nano=0).body.string_value = "untimed"

    # Nothing in it.
    of_scope.log_records.add(time_unix_nano=TIME)

    # Of nobody, with a name of its own.
    named = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=TIME, severity_text="warn")
    named.body.int_value = 7
    pair(named.attributes, "log.record.uid", string_value="01J9Z")
    return request


def as_json(request):
    """OTLP's JSON is protobuf's, but for the ids, which are hexadecimal, and the enumerations, which are numbers."""
    made = MessageToDict(request, use_integers_for_enums=True)
    for of_resource in made["resourceLogs"]:
        for of_scope in of_resource["scopeLogs"]:
            for record in of_scope["logRecords"]:
                for name in ("traceId", "spanId"):
                    if name in record:
                        record[name] = base64.b64decode(record[name]).hex()
    return made


def read(answer):
    response = ExportLogsServiceResponse.FromString(base64.b64decode(answer))
    partial = response.partial_success
    return {
        "rejected": partial.rejected_log_records,
        "message": partial.error_message,
        "partial": response.HasField("partial_success"),
    }


def main():
    answers = json.load(sys.stdin)["answers"]
    made = request()
    protobuf = base64.b64encode(made.SerializeToString()).decode()
    print(json.dumps({"protobuf": protobuf, "json": as_json(made), "answers": [read(one) for one in answers]}))


if __name__ == "__main__":
    main()
