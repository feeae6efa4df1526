"""Reads OpenMetrics text with Prometheus' own Python parser; fails where it is not well formed.

Usage: check_openmetrics.py [--json] < body. Prints one line a sample, as parsed; or as JSON {"families": {name: type},
"samples": [[name, labels, value]], "exemplars": [[name, labels, the exemplar's labels, value, seconds]]}, where samples
without a finite value are left out.
"""

import json
import math
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

sys.stdout.reconfigure(encoding="utf-8")
try:
    families = list(text_string_to_metric_families(sys.stdin.buffer.read().decode("utf-8")))
except ValueError as error:
    print(f"not OpenMetrics: {error}")
    sys.exit(1)
if "--json" in sys.argv:
    samples = [sample for family in families for sample in family.samples if math.isfinite(sample.value)]
    said = {
        "families": {family.name: family.type for family in families},
        "samples": [[sample.name, sample.labels, float(sample.value)] for sample in samples],
        "exemplars": [
            [sample.name, sample.labels, shown.labels, float(shown.value), float(shown.timestamp)]
            for sample in samples
            if (shown := sample.exemplar)
        ],
    }
    json.dump(said, sys.stdout)
    sys.exit(0)
for family in families:
    print(f"{family.type} {family.name}: {family.documentation!r}")
    for sample in family.samples:
        shown = sample.exemplar
        recent = f" # {shown.labels!r} = {shown.value} at {shown.timestamp}" if shown else ""
        print(f"  {sample.name} {dict(sorted(sample.labels.items()))!r} = {sample.value}{recent}")
