# The commands of the house. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build test fuzz flips beside large demo clean-demo
DEMO_MINUTES ?= 60
SECONDS ?= 60
CASES ?= 10000
HOURS ?= 24
MEGABYTES ?= 1024

help: ## lists the commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: ## installs what is missing (Debian packages, the Kafka jars); a second run costs nothing
	@scripts/setup

build: setup ## leaves the programs in target/bin: edge-agent, central, fakes
	@scripts/build

test: setup ## format, lints, every test, a short demo, the independent checks
	@scripts/test

fuzz: setup ## every decoder against damaged and random bytes, SECONDS=n each
	@FUZZ_SECONDS=$(SECONDS) cargo test --locked --workspace --test formats

flips: setup ## CASES=n random flips and cuts of the buffer and its log: what is whole comes back, the rest is named
	@CASES=$(CASES) cargo test --locked -p edge-agent --test agent repair:: -- --nocapture

beside: setup ## HOURS=n simulated hours of an agent beside every inspection, and what they cost
	@HOURS=$(HOURS) cargo test --locked --release -p edge-agent --test agent concurrent:: -- --nocapture

large: setup ## how long a buffer of MEGABYTES=n takes to be verified and repaired
	@MEGABYTES=$(MEGABYTES) cargo test --locked --release -p edge-agent --test agent large:: -- --nocapture

demo: build ## one simulated hour of three stores in about two minutes, with every fault; DEMO_MINUTES=n
	@target/bin/fakes demo --dir target/demo --programs target/bin --minutes $(DEMO_MINUTES)

clean-demo: ## removes all that the demo left
	@if [ -x target/bin/fakes ]; then target/bin/fakes stack down --dir target/demo; fi
