"""Reads OpenMetrics text with Prometheus' own Python parser; fails where it is not well formed.

Usage: check_openmetrics.py < body. Prints one line a sample, as parsed.
"""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

sys.stdout.reconfigure(encoding="utf-8")
try:
    families = list(text_string_to_metric_families(sys.stdin.buffer.read().decode("utf-8")))
except ValueError as error:
    print(f"not OpenMetrics: {error}")
    sys.exit(1)
for family in families:
    print(f"{family.type} {family.name}: {family.documentation!r}")
    for sample in family.samples:
        print(f"  {sample.name} {dict(sorted(sample.labels.items()))!r} = {sample.value}")
