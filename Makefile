# make demo | build | check | test | proof | fuzz. Each sets up what it needs.

CARGO ?= cargo
FOREIGN := tests/foreign
PYTHON := $(FOREIGN)/.venv/bin/python
PEER := tests/benches/turns/.venv
TOOLS := target/tools
DENY := 0.20.2
FUZZ := 0.13.1

export CARGO

.PHONY: build demo check test proof fuzz bench deny system foreign real

build: system
	$(CARGO) build --release --locked

demo: build
	target/release/cody-batch demo

check: system
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --lib --locked

test: system foreign real deny
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --locked
	$(CARGO) clippy --locked --features mcp-fixtures --lib --test mcp -- -D warnings
	$(CARGO) test --locked --features mcp-fixtures --test mcp fixtures::

# The same tests with their full counts.
# The job of twenty minutes runs beside the others: it waits for Claude nearly all of the time.
proof: system foreign real
	$(CARGO) test --profile proof --workspace --locked --no-run
	$(CARGO) test --profile proof --locked --test jobs twenty -- --ignored --nocapture \
		>target/twenty-minutes.txt 2>&1 & twenty=$$!; \
	CODY_CASES=1000 CODY_PROOF=1 $(CARGO) test --profile proof --workspace --locked -- --nocapture && \
	CODY_PROOF=1 $(CARGO) test --profile proof --locked --test jobs large -- --ignored --nocapture && \
	wait $$twenty; ended=$$?; cat target/twenty-minutes.txt; exit $$ended
	$(CARGO) test --profile proof --locked --features mcp-fixtures --test mcp fixtures:: -- --nocapture

# A fixed number of iterations of each target in tests/fuzz, or FUZZ_RUNS of each.
fuzz: $(TOOLS)/.cargo-fuzz-$(FUZZ)
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" sh tests/fuzz/run.sh

$(TOOLS)/.cargo-fuzz-$(FUZZ):
	$(CARGO) install cargo-fuzz --debug --locked --version =$(FUZZ) --root $(TOOLS)
	touch $@

# What it costs, beside calibrators and peers in the same run. Not part of any gate.
bench: foreign $(PEER)/.installed
	$(CARGO) bench --profile proof --locked

$(PEER)/.installed: tests/benches/turns/requirements.txt
	python3 -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# What we are made of: licences, crates that may be no part of it, and where all comes from.
deny: $(TOOLS)/.cargo-deny-$(DENY)
	$(TOOLS)/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources

$(TOOLS)/.cargo-deny-$(DENY):
	$(CARGO) install cargo-deny --debug --locked --version =$(DENY) --root $(TOOLS)
	touch $@

# Debian packages, where we may install them; elsewhere their absence is told by whoever misses them.
system:
	@sh tests/system.sh

# Programs that no one here wrote, pinned, in folders of their own.
foreign: $(FOREIGN)/node_modules/.installed $(FOREIGN)/.venv/.installed \
		$(FOREIGN)/mcp/node_modules/.installed $(FOREIGN)/mcp/.venv/.installed

$(FOREIGN)/node_modules/.installed: $(FOREIGN)/package-lock.json
	npm ci --prefix $(FOREIGN) --no-audit --no-fund
	touch $@

$(FOREIGN)/.venv/.installed: $(FOREIGN)/requirements.txt
	python3 -m venv $(FOREIGN)/.venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r $(FOREIGN)/requirements.txt
	touch $@

# MCP's own judges: a Node of their own among them, and no package's scripts are started.
$(FOREIGN)/mcp/node_modules/.installed: $(FOREIGN)/mcp/package-lock.json
	npm ci --prefix $(FOREIGN)/mcp --no-audit --no-fund --ignore-scripts
	touch $@

$(FOREIGN)/mcp/.venv/.installed: $(FOREIGN)/mcp/requirements.txt
	python3 -m venv $(FOREIGN)/mcp/.venv
	$(FOREIGN)/mcp/.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes -r $<
	touch $@

# Published packages whose real code tests change.
real: tests/real/packages/.fetched

tests/real/packages/.fetched: tests/real/fetch.sh tests/real/requirements.txt tests/real/build.txt
	sh tests/real/fetch.sh
	touch $@
