# `make demo` runs a gateway to try; `make test` passes every test. Both
# install what they need, except for Rust itself.

CARGO ?= cargo
PROFILE ?= release
SOAK_SECONDS ?= 300
WRITE ?= 0

.PHONY: demo dist test test-rust test-peers test-clients test-deploy image chart soak lint autobahn fmt bench instructions bench-core fuzz clean help

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: tools ## A gateway with small services behind it, to try things with
	@echo "Building the gateway: the first time that takes some minutes, later it is quick."
	$(CARGO) run --profile $(PROFILE) --bin bridgehead -- demo

dist: tools ## An archive of the binary, completions, man pages and documents, under target/dist
	PROFILE=$(PROFILE) CARGO="$(CARGO)" bash deploy/dist.sh

test: tools test-rust test-peers ## The tests in Rust and those of the real binary: test-rust and test-peers

test-rust: tools ## Unit tests and tests over real sockets
	$(CARGO) test --all-targets
	$(CARGO) test --doc

test-peers: tools ## The real binary against clients and services of other implementations
	$(CARGO) build --bin bridgehead
	BRIDGEHEAD=$(CURDIR)/target/debug/bridgehead bash tests/peers/run.sh -q

test-clients: tools ## The Go client of existing apps, against the demo, and the tutorial's service in Go
	$(CARGO) build --bin bridgehead
	BRIDGEHEAD=$(CURDIR)/target/debug/bridgehead bash tests/clients/go/run.sh
	WITH_GO=1 BRIDGEHEAD=$(CURDIR)/target/debug/bridgehead bash tests/peers/run.sh -q test_tutorial.py test_push_doc.py -k go

lint: tools ## Formatting, clippy, fuzz targets, documentation of the source, wording, the oldest compiler
	$(CARGO) fmt --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --manifest-path fuzz/Cargo.toml --target-dir target --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items
	bash tests/words.sh
	CARGO="$(CARGO)" bash tests/rust_version.sh

autobahn: tools ## The Autobahn test suite against the gateway's WebSocket code (docs/autobahn.md; WRITE=1 writes it)
	$(CARGO) build --example autobahn_echo
	WRITE=$(WRITE) bash tests/autobahn/run.sh

fmt: ## Formats the source, that of the fuzz targets too
	$(CARGO) fmt
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml

test-deploy: tools ## The image's build steps, and the Helm chart against helm, Kubernetes' schemas and the real binary
	$(CARGO) build --bin bridgehead
	BRIDGEHEAD=$(CURDIR)/target/debug/bridgehead bash tests/deploy/run.sh -q
	bash deploy/image/check.sh

image: ## The container image (IMAGE=name, PUSH=1); needs docker with buildx
	bash deploy/image/build.sh

chart: tools ## Brings the chart's copies of alerts, dashboard and configuration schema, and its README, up to date
	@mkdir -p deploy/helm/bridgehead/files
	@test ! -f deploy/prometheus/alerts.yaml || cp deploy/prometheus/alerts.yaml deploy/helm/bridgehead/files/alerts.yaml
	@test ! -f deploy/grafana/bridgehead.json || cp deploy/grafana/bridgehead.json deploy/helm/bridgehead/files/dashboard.json
	bash tests/deploy/setup.sh
	target/deploy/venv/bin/python deploy/helm/readme.py
	$(CARGO) build --bin bridgehead
	target/debug/bridgehead schema | target/deploy/venv/bin/python deploy/helm/schema.py

soak: tools ## Clients and backends at random for SOAK_SECONDS (default 300), then everything is checked
	BRIDGEHEAD_SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --test soak -- --nocapture

bench: tools ## The gateway beside a direct client and the floors; writes BENCHMARKS.md (some 20 minutes)
	$(CARGO) bench --bench side_by_side

instructions: tools ## Counts the instructions of hot paths against benches/instructions.json (WRITE=1 writes it)
	@command -v valgrind >/dev/null || { \
	  echo "installing valgrind"; \
	  $$(test "$$(id -u)" = 0 || echo sudo) sh -c 'apt-get update -q && apt-get install -qy valgrind'; }
	WRITE=$(WRITE) $(CARGO) bench --bench side_by_side -- instructions

bench-core: tools ## Benchmarks of the pure core
	$(CARGO) bench --bench envelope --bench routing

fuzz: ## Each fuzz target for FUZZ_SECONDS (default 300)
	bash fuzz/run.sh

# A C compiler for jemalloc and aws-lc, and one for C++ for libFuzzer: the one
# package that a bare Debian lacks.
.PHONY: tools
tools:
	@command -v cc >/dev/null && command -v c++ >/dev/null || { \
	  echo "installing compilers for C and C++ (apt: build-essential)"; \
	  $$(test "$$(id -u)" = 0 || echo sudo) sh -c 'apt-get update -q && apt-get install -qy build-essential'; }

clean: ## Removes everything that was built, and the environments of the tests
	$(CARGO) clean
	rm -rf fuzz/target
