"""Reads an OpenMetrics exposition from standard input with prometheus_client's strict parser.

Prints {"families": {name: type}, "samples": [[name, {label: value}, value]]} as JSON, or complains and exits with 1.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

text = sys.stdin.buffer.read().decode("utf-8")
try:
    families = list(text_string_to_metric_families(text))
except ValueError as error:
    sys.exit(f"prometheus_client does not accept it: {error}")
if not families:
    sys.exit("there is no family in it")

json.dump(
    {
        "families": {family.name: family.type for family in families},
        "samples": [
            [sample.name, sample.labels, float(sample.value)]
            for family in families
            for sample in family.samples
            if sample.value == sample.value and abs(sample.value) != float("inf")
        ],
    },
    sys.stdout,
)
