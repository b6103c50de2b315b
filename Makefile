# The commands of the house. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build test fuzz poison demo clean-demo
DEMO_MINUTES ?= 60
SECONDS ?= 60
RECORDS ?= 10000

help: ## lists the commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: ## installs what is missing (Debian packages, the Kafka jars); a second run costs nothing
	@scripts/setup

build: setup ## leaves the programs in target/bin: edge-agent, central, fakes
	@scripts/build

test: setup ## format, lints, every test, a short demo, the independent checks
	@scripts/test

fuzz: setup ## every decoder and the judge against damaged and random bytes, SECONDS=n each
	@FUZZ_SECONDS=$(SECONDS) cargo test --locked --workspace --test formats
	@FUZZ_SECONDS=$(SECONDS) cargo test --locked -p central --test service fuzz_

poison: setup ## what one bad record among RECORDS=10000 costs its neighbours
	@RECORDS=$(RECORDS) cargo test --locked -p central --test service poison -- --nocapture

demo: build ## one simulated hour of three stores in about two minutes, with every fault; DEMO_MINUTES=n
	@target/bin/fakes demo --dir target/demo --programs target/bin --minutes $(DEMO_MINUTES)

clean-demo: ## removes all that the demo left
	@if [ -x target/bin/fakes ]; then target/bin/fakes stack down --dir target/demo; fi
