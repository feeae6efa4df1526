"""Reads OpenMetrics text with Prometheus' own Python parser; fails where it is not well formed.

Usage: check_openmetrics.py [--json] < body. Prints one line a sample, as parsed; or as JSON {"families": {name: type},
"samples": [[name, labels, value]]}, where samples without a finite value are left out.
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
    }
    json.dump(said, sys.stdout)
    sys.exit(0)
for family in families:
    print(f"{family.type} {family.name}: {family.documentation!r}")
    for sample in family.samples:
        print(f"  {sample.name} {dict(sorted(sample.labels.items()))!r} = {sample.value}")
