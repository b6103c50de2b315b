# The commands of the house. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build test fuzz crash demo clean-demo
DEMO_MINUTES ?= 60
SECONDS ?= 60
CASES ?= 10000

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

crash: setup ## every state that a power cut may leave of a recorded agent, CASES=n of them; SEED=n draws the same cuts
	@CASES=$(CASES) $(if $(SEED),SEED=$(SEED)) cargo test --locked --package edge-agent --test agent power:: -- --nocapture --test-threads=1

demo: build ## one simulated hour of three stores in about two minutes, with every fault; DEMO_MINUTES=n
	@target/bin/fakes demo --dir target/demo --programs target/bin --minutes $(DEMO_MINUTES)

clean-demo: ## removes all that the demo left
	@if [ -x target/bin/fakes ]; then target/bin/fakes stack down --dir target/demo; fi
