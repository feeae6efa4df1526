# What a builder of Rowmetry runs. `make check test` is what continuous integration runs.

CARGO ?= cargo
BIN = target/debug/rowmetry

# Seconds for which each target of `make fuzz` is run, and which are.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))

.PHONY: all build release check advisories test fuzz bench docs rules screenshots demo

all: check test

build:
	$(CARGO) build --all-targets

release:
	$(CARGO) build --release

# Everything that can be told without running the program. Prometheus' and Alertmanager's own tools are installed where they are missing.
check: target/.deny-installed
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps
	$(CARGO) fetch --locked --quiet
	$(CARGO) deny --offline check bans licenses sources
	tests/install.sh
	promtool check rules alerts/[!a]*.yml
	amtool check-config alerts/alertmanager.yml
	@for crate in aws-lc-sys openssl-sys; do \
		if $(CARGO) tree --quiet --edges normal,build -i $$crate >/dev/null 2>&1; then \
			echo "$$crate is in the tree; one TLS stack, rustls with ring, is enough" >&2; exit 1; \
		fi; \
	done

# Known weaknesses of dependencies. It fetches the RustSec database, so it needs the network and stands alone.
advisories: target/.deny-installed
	$(CARGO) deny check advisories

target/.deny-installed:
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked
	@mkdir -p target && touch $@

# Installs what is missing (Postgres, Redis, Prometheus, Alertmanager and more), then runs every test. None is ever skipped.
test:
	tests/install.sh
	INSTA_UPDATE=no $(CARGO) test

# Looks for bytes that a drain must not be sent: a minute for each of the readers of bodies and lines, after a first build of some
# minutes. It begins with fuzz/seeds and goes on with what it found before (fuzz/corpus). What breaks a reader ends it, and is left in
# fuzz/artifacts. The instruments are the compiler's own, but behind a switch; without sanitizers, since there is no unsafe code.
fuzz: target/.fuzz-installed
	@set -e; for target in $(FUZZ_TARGETS); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		mkdir -p fuzz/corpus/$$target; \
		cp fuzz/seeds/$$target/* fuzz/corpus/$$target/; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --sanitizer none $$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -verbosity=0; \
	done

target/.fuzz-installed:
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install cargo-fuzz --locked
	@mkdir -p target && touch $@

# About eleven minutes. It prints figures and asserts none; ROWMETRY_BENCH_ROWS=1000000 is quicker, and
# ROWMETRY_BENCH_ONLY=spans,tracing runs those parts of `system` alone: memory, applications, presence, scrapes, catching_up, share,
# collection, spans, tracing, lines.
bench:
	tests/install.sh bench
	$(CARGO) bench --bench encode --bench system

# The pages that are made from the program; a test fails when the committed ones are stale.
docs:
	$(CARGO) build --quiet
	mkdir -p docs/schema target/docs
	$(BIN) schema config > target/docs/config.json
	$(BIN) schema pack > target/docs/pack.json
	$(BIN) schema dashboard > target/docs/dashboard-schema.json
	$(BIN) docs configuration > target/docs/configuration.md
	$(BIN) docs metrics > target/docs/metrics.md
	$(BIN) docs spans > target/docs/spans.md
	$(BIN) docs self-metrics > target/docs/self-metrics.md
	mv target/docs/config.json target/docs/pack.json docs/schema/
	mv target/docs/dashboard-schema.json docs/schema/dashboard.json
	@set -e; for pack in packs/*.yaml; do \
		pack=$$(basename $$pack .yaml); \
		$(BIN) docs metrics --pack $$pack > target/docs/part; \
		sed -i -e '/^<!-- metrics: made/,/^<!-- end -->/{/^<!--/!d}' -e '/^<!-- metrics: made/r target/docs/part' docs/apps/$$pack.md; \
	done
	mv target/docs/*.md docs/
	deploy/kubernetes/rules.sh
	@set -e; for file in dashboards/*.yaml; do \
		echo "$(BIN) dashboard $$file"; \
		$(BIN) dashboard $$file > target/docs/dashboard.json; \
		mv target/docs/dashboard.json $${file%.yaml}.json; \
	done

# Pictures of the dashboards in target/screenshots, with the data of this Prometheus; no Grafana is needed.
PROMETHEUS ?= http://127.0.0.1:9090
screenshots: docs
	tests/look_at_dashboards.py --prometheus $(PROMETHEUS) dashboards/*.json

# The rules of alerts/ as the Prometheus operator reads them; a test fails when the committed ones are stale.
rules:
	deploy/kubernetes/rules.sh

demo:
	$(CARGO) run -- demo
