#!/bin/sh
# Makes a PrometheusRule of each file of rules in alerts/, and the kustomization that names them. `make rules` runs it.
set -eu
cd "$(dirname "$0")/../.."

out=deploy/kubernetes/rules
mkdir -p $out
rm -f $out/*.yaml
{
    echo '# Made by `make rules`; do not edit.'
    echo 'apiVersion: kustomize.config.k8s.io/v1beta1'
    echo 'kind: Kustomization'
    echo 'resources:'
} > $out/kustomization.yaml
for file in alerts/*.yml; do
    stem=$(basename "$file" .yml)
    [ "$stem" != alertmanager ] || continue
    {
        echo '# Made by `make rules`; do not edit.'
        echo 'apiVersion: monitoring.coreos.com/v1'
        echo 'kind: PrometheusRule'
        echo 'metadata:'
        echo "  name: rowmetry-$(echo "$stem" | tr _ -)"
        echo '  labels: {app.kubernetes.io/name: rowmetry}'
        echo 'spec:'
        sed 's/^\(.\)/  \1/' "$file"
    } > "$out/$stem.yaml"
    echo "  - $stem.yaml" >> $out/kustomization.yaml
done
