# The commands of the house. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build test fuzz late fulldisk demo clean-demo
DEMO_MINUTES ?= 60
SECONDS ?= 60
SEEDS ?= 200
CASES ?= 20

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

late: setup ## late receipts and wrong clocks against a plain computation, SEEDS=n
	@SEEDS=$(SEEDS) cargo test --locked -p edge-agent --test agent -- late:: --nocapture

fulldisk: setup ## every write of the agent fails once, full disks and small quotas, CASES=n of each
	@CASES=$(CASES) cargo test --locked -p edge-agent --test agent -- full_disk:: quota:: --nocapture

demo: build ## one simulated hour of three stores in about two minutes, with every fault; DEMO_MINUTES=n
	@target/bin/fakes demo --dir target/demo --programs target/bin --minutes $(DEMO_MINUTES)

clean-demo: ## removes all that the demo left
	@if [ -x target/bin/fakes ]; then target/bin/fakes stack down --dir target/demo; fi
