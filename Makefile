# One set of flags for everything, so that RocksDB (8 to 15 minutes) is compiled once.
CARGO  ?= cargo
FLAGS   = --workspace --all-features --locked
PREFIX ?= /usr/local
STORY  ?= all
CHEAT  ?= all
COMPARE = $(CARGO) run --release --locked --manifest-path arbiter-protocol/benches/comparison/Cargo.toml \
	--target-dir $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
BUILT   = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/debug
SECONDS ?= 60
# What `make mutants` changes, and the tests that have to see it, by the folder of FILE. The engine is changed in place: a
# copy of the sources would compile RocksDB again.
FILE    ?= arbiter-protocol/src/{crypto/**,escrow/**,evidence/**,exchange/**,message/**,role/**,ruling/**,ids.rs,statement.rs,time.rs}
SEEN_BY_core     = affidavit batches chains charges decisions decisions_money fuzz_corpus ledger model model_money \
	one_way packages payments receipts reservations scenario_gaps sessions sessions_money statements vectors
SEEN_BY_escrow   = escrow statements
SEEN_BY_evidence = charges formats other_implementations receipts statements vectors
SEEN_BY_engine   = engine store api sim modules
SEEN_BY_all      = $(sort $(SEEN_BY_core) $(SEEN_BY_escrow) $(SEEN_BY_evidence))
AREA    = $(firstword $(if $(filter src/%,$(FILE)),engine) $(if $(findstring {,$(FILE)),all) \
	$(foreach it,escrow evidence,$(if $(findstring /$(it)/,$(FILE)),$(it))) core)
WHERE   = $(if $(filter engine,$(AREA)),-p arbiter --in-place --test-workspace=true,-p arbiter-protocol)
BENCHES  = audit log published rulings exchange ledger trades recovery escrow

.PHONY: help system build demo matrix test fmt bindings lint unit doc stories bench fuzz sim mutants install audit proto lint-proto release-graph

help: ## Show the targets.
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

system: ## Install the Debian packages that the build needs.
	@.ci/system-packages

build: system ## Build the programs.
	$(CARGO) build $(FLAGS) --bins --examples

demo: build ## Play the stories with real processes. STORY=contract CHEAT=quiet plays one, LIST=1 lists them.
	@$(BUILT)/examples/demo $(if $(LIST),--list,--story $(STORY) --cheat $(CHEAT))

matrix: system ## Play every pair of items with every cheat and outage, and print the table. CELL=file/money plays one pair.
	$(CARGO) test $(FLAGS) -p arbiter-client --test matrix -- $(CELL)

test: system fmt bindings lint unit doc stories release-graph lint-proto ## Everything that CI runs.

fmt:
	$(CARGO) fmt --all -- --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml -- --check

bindings:
	$(CARGO) run --quiet --locked --manifest-path proto/codegen/Cargo.toml -- check

stories: build
	@$(BUILT)/examples/demo --story all --cheat all

lint:
	$(CARGO) clippy $(FLAGS) --all-targets -- -D warnings
	@# Of the fuzzer only that its lock file is current: building it takes minutes.
	$(CARGO) tree --locked --quiet --manifest-path fuzz/Cargo.toml >/dev/null

unit: build
	$(CARGO) test $(FLAGS) --all-targets --no-fail-fast
	$(CARGO) test $(FLAGS) --doc

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(FLAGS) --no-deps

bench: system ## Run the benchmarks and print their tables (docs/figures.md). BENCHES=log runs one of them.
	$(CARGO) bench $(FLAGS) --profile dev $(addprefix --bench ,$(BENCHES))
ifneq ($(filter escrow,$(BENCHES)),)
	$(COMPARE)
	$(COMPARE) --features parallel
endif

fuzz: system ## Look for inputs that break something: TARGET=envelope SECONDS=60, all without TARGET. LIST=1 lists them.
	@fuzz/run $(if $(LIST),--list,$(or $(TARGET),all) $(SECONDS))

sim: system ## Simulate: SEEDS=100000 plays so many schedules, SEED=17 tells the story of one. KINDS=Package plays only such exchanges.
	$(if $(SEED),SEED=$(SEED)) $(if $(SEEDS),SEEDS=$(SEEDS)) $(if $(KINDS),KINDS=$(KINDS)) $(CARGO) test $(FLAGS) --test sim simulate -- --ignored --nocapture

mutants: ## Change the code, expect a test to fail: FILE=arbiter-protocol/src/role/session.rs, all of the core without FILE.
	@command -v cargo-mutants >/dev/null || $(CARGO) install --locked cargo-mutants
	CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) mutants --jobs 1 --file '$(FILE)' \
	$(WHERE) $(addprefix --cargo-arg=,--lib $(SEEN_BY_$(AREA):%=--test=%))

install: system ## Put arbiter and fairx into PREFIX/bin.
	$(CARGO) build --locked -p arbiter -p arbiter-client --features arbiter-client/cli --bins
	install -d $(PREFIX)/bin
	install -s $(BUILT)/arbiter $(BUILT)/fairx $(PREFIX)/bin

lint-proto:
	@if command -v npx >/dev/null; then npx --yes @bufbuild/buf@1.75.0 lint proto; \
	else echo 'no npx: the API is not linted here'; fi

# The features testing and weaken must not be reachable from a release build.
release-graph:
	@! $(CARGO) tree --locked -p arbiter -p arbiter-client -e normal,build --prefix none -f '{p} {f}' | grep -E '^(arbiter|arbiter-[a-z]+) .*(testing|weaken)'

audit: ## Check dependencies against known vulnerabilities and licences (installs two cargo tools).
	$(CARGO) install --locked cargo-deny cargo-audit
	$(CARGO) deny check licenses bans sources
	$(CARGO) audit $(if $(wildcard ../shared/advisory-db),--db ../shared/advisory-db --no-fetch --stale)

proto: lint-proto ## Lint the API and regenerate the checked-in bindings.
	$(CARGO) run --locked --manifest-path proto/codegen/Cargo.toml -- update
