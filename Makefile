# Kurma's build. `make run` and `make test` are all that a newcomer needs; each
# sets up what it lacks. `make help` lists the rest.

SHELL := /bin/sh
ROOT := $(CURDIR)
TOOLS := $(ROOT)/.toolchain

export PATH := $(TOOLS)/bin:$(PATH)
export DENO_DIR := $(TOOLS)/deno-dir
export DENO_TLS_CA_STORE ?= system
export DENO_NO_UPDATE_CHECK := 1
export ZIG_GLOBAL_CACHE_DIR := $(TOOLS)/zig-cache

DENO_FLAGS := $(if $(CI),--frozen)
SOURCES := $(shell find main.ts cmd ffi stage1 stage2 stage3 -name '*.ts' ! -name '*_test.ts' 2>/dev/null)
ZIG_SOURCES := build.zig native.zig toolchain/bare.zig $(shell find ffi stage1 stage2 stage3 -name '*.zig' 2>/dev/null)
TOOL_SOURCES := $(shell find bench tests -name '*.zig' 2>/dev/null)

.PHONY: run
run: build ## Build, then look around inside a container
	dist/kurma run hello

.PHONY: build
build: dist/kurma ## Build dist/kurma

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

# The tools, pinned in toolchain/pins.
$(TOOLS)/ready: toolchain/pins toolchain/fetch
	@toolchain/fetch
	@touch $@

# One run of zig makes all native parts; it decides itself what is stale.
build/native/.made: $(TOOLS)/ready $(ZIG_SOURCES)
	zig build --prefix build/native
	@touch $@

build/app/main.js: build/native/.made $(SOURCES) $(wildcard cmd/cli/shells/*) scripts/bundle.ts VERSION deno.json deno.lock Makefile
	deno run -A $(DENO_FLAGS) scripts/bundle.ts

dist/kurma: build/app/main.js
	@mkdir -p dist
	cd build/app && DENORT_BIN=$(TOOLS)/denort deno compile --quiet --no-check --no-code-cache \
	  --unstable-raw-imports --allow-all --output $(ROOT)/dist/kurma main.js

.PHONY: bindings
bindings: $(TOOLS)/ready ## Write ffi/abi.gen.ts anew after a change of ffi/libkurma.zig
	zig build bindings

.PHONY: proto
proto: $(TOOLS)/ready ## Write stage1/api/**/*.gen.ts anew after a change of a .proto file
	deno run -A $(DENO_FLAGS) scripts/proto.ts

# The static programs that only tests and measurements use.
build/tools/.made: $(TOOLS)/ready $(ZIG_SOURCES) $(TOOL_SOURCES)
	zig build guest floor cgroup-driver launcher weakened attacker injector xstate --prefix build/tools
	@touch $@

# What programs under Node need that tests run beside Kurma.
build/node/.made: $(TOOLS)/ready tests/node_packages.ts deno.json
	@deno run -A $(DENO_FLAGS) tests/node_packages.ts

.PHONY: test
test: $(TOOLS)/ready ## Run all tests, or TESTS="FILE..."; as root; installs the Debian packages they need
	@tests/setup
	@deno install --quiet $(DENO_FLAGS)
	@$(MAKE) --no-print-directory dist/kurma build/tools/.made build/node/.made
	@deno run -A $(DENO_FLAGS) tests/main.ts $(TESTS)

.PHONY: soak
soak: ## The same tests with the large counts
	@KURMA_SOAK=1 $(MAKE) --no-print-directory test

.PHONY: bench
bench: $(TOOLS)/ready ## Measure Kurma beside the floor and its peers, RUNS=100 times; BENCH=images: importing; BENCH=daemon: kurmad; as root
	@tests/setup
	@$(MAKE) --no-print-directory dist/kurma build/tools/.made
	@tests/isolated deno run -A $(DENO_FLAGS) bench/$(or $(BENCH),main).ts $(RUNS)

.PHONY: ok
ok: build/native/.made ## The gate: format, lint, types, tidiness
	deno fmt --check --quiet
	deno lint --quiet
	@deno check --quiet $(DENO_FLAGS) $(SOURCES) $(shell find . -name '*_test.ts' -not -path './.*') $(wildcard tests/*.ts tests/*/*.ts bench/*.ts scripts/*.ts)
	@zig fmt --check $(ZIG_SOURCES) $(TOOL_SOURCES)
	deno run -A $(DENO_FLAGS) scripts/tidy.ts

.PHONY: clean
clean: ## Remove what was built
	rm -rf build dist .zig-cache

.PHONY: distclean
distclean: clean ## Remove the tools as well
	rm -rf .toolchain
