# Names for what one types; each does its own set-up. What a change must pass is in scripts/gate.

BINARY := target/release/proxmenux-monitor

.PHONY: run test build check bless dev e2e bench soak setup

# Builds what is needed and serves on port 8008.
run: build
	exec $(BINARY) serve

# Runs everything that a change must pass.
test:
	scripts/setup test
	scripts/gate

# Builds the page and the release binary that holds it.
build:
	scripts/setup run
	npm --prefix web run build
	cargo build --release

# The quick half of the gate: format, lints, types.
check:
	scripts/setup run
	scripts/gate quick

# Accepts the snapshots that the tests have written anew. Read them before you commit.
bless:
	INSTA_UPDATE=always cargo nextest run

# Serves the page from its source, with changes shown at once, and the server behind it.
dev:
	scripts/setup run
	scripts/dev

# Drives the release binary in Chromium.
e2e: build
	scripts/setup test
	npm --prefix web run e2e

# Measures the release binary against references in the same run: docs/benchmarks.md. ARGS=--quick is short.
bench: build
	scripts/setup bench
	cargo run --quiet --locked --release --manifest-path bench/Cargo.toml --target-dir target/bench -- $(ARGS)

# Sends a million random bodies to the calls that take one; CASES=n sends n to each. Takes some minutes, with the state
# in memory: it is about bodies, not about the disk.
soak: CASES ?= 60000
soak:
	TMPDIR=/dev/shm MONITOR_CASES=$(CASES) cargo test --release --locked --test it -- bodies::no_body
