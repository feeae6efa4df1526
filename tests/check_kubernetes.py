"""Checks Kubernetes objects against the schemas of Kubernetes itself, without a cluster and without a network.

It reads a stream of YAML documents from standard input and prints JSON: one object each, with what is wrong with it (null when
nothing is). Custom resources have no schema here; their `checked` is false.
"""

import json
import sys

import kubernetes_validate
import yaml

# The oldest that is still in use, and the newest that is known here.
VERSIONS = ["1.31", kubernetes_validate.latest_version()]
BUILT_IN = {"v1", "apps/v1", "networking.k8s.io/v1"}


def complaint(found):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            return f"{version}: {'/'.join(map(str, error.path))}: {error.message}"
    return None


def main():
    report = []
    for found in yaml.safe_load_all(sys.stdin):
        checked = found["apiVersion"] in BUILT_IN
        report.append(
            {
                "kind": found["kind"],
                "name": found["metadata"]["name"],
                "checked": checked,
                "complaint": complaint(found) if checked else None,
            }
        )
    json.dump(report, sys.stdout)


main()
