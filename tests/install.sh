#!/bin/sh
# Installs what the tests run against: a real Postgres, PgBouncer, Redis, Prometheus and Alertmanager, Docker Compose as a reader of its
# file (no Docker is needed), and a Python with two parsers, an OTLP receiver and the schemas of Kubernetes.
# Quick when everything is there. `tests/install.sh bench` adds what the benches compare with.
set -eu
cd "$(dirname "$0")/.."

purpose=${1:-test}
case $purpose in
    test | bench) ;;
    *) echo "usage: tests/install.sh [test|bench]" >&2; exit 2 ;;
esac

missing=''
services=''

# need PACKAGE SERVICE|- PROGRAM...: the package is missing when none of the programs is there.
need() {
    package=$1 service=$2
    shift 2
    for program in "$@"; do
        if command -v "$program" >/dev/null 2>&1 || [ -x "$program" ]; then return; fi
    done
    missing="$missing $package"
    [ "$service" = - ] || services="$services $service"
}

# Debian keeps the server's programs out of PATH.
postgres_program() {
    ls -d /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | tail -n 1
}

need postgresql postgresql postgres "$(postgres_program postgres)"
need postgresql-client - pg_dump "$(postgres_program pg_dump)"
need pgbouncer pgbouncer pgbouncer /usr/sbin/pgbouncer
need redis-server redis-server redis-server
need prometheus prometheus prometheus
need prometheus-alertmanager prometheus-alertmanager prometheus-alertmanager
# For systemd-analyze, which reads the unit; nothing of it need run.
need systemd - systemd-analyze
need openssl - openssl
need curl - curl
if [ "$purpose" = bench ]; then
    need nginx-light nginx nginx /usr/sbin/nginx
    need wrk - wrk
fi
# Docker's own packages bring it as `docker compose`, and cannot stand beside Debian's.
docker compose version >/dev/null 2>&1 || need docker-compose - docker-compose
if ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
    missing="$missing python3-venv"
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "These Debian packages are missing:$missing" >&2
        echo "Install them as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "These are missing, and there is no apt-get to install them with:$missing" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of words
    if ! { apt-get -q update && apt-get -q -y install --no-install-recommends $missing; } >&2; then
        echo "apt-get could not install:$missing. Its own message is above; install them by hand and run this again." >&2
        exit 1
    fi
    # The tests start their own, on free ports; what the packages started by themselves only wastes memory.
    for service in $services; do
        if command -v service >/dev/null 2>&1; then
            service "$service" stop >/dev/null 2>&1 || true
        fi
    done
fi

venv=target/venv
if ! cmp -s tests/requirements.txt "$venv/installed.txt"; then
    mkdir -p target
    rm -rf "$venv"
    python3 -m venv "$venv"
    if ! "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt; then
        echo "pip could not install tests/requirements.txt; its own message is above." >&2
        exit 1
    fi
    cp tests/requirements.txt "$venv/installed.txt"
fi
