# The commands of the house. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build test fuzz bench demo clean-demo
DEMO_MINUTES ?= 60
SECONDS ?= 60
PARTS ?=

help: ## lists the commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: ## installs what is missing (Debian packages, the Kafka jars); a second run costs nothing
	@scripts/setup

build: setup ## leaves the programs in target/bin: edge-agent, central, fakes
	@scripts/build

test: setup ## format, lints, every test, a short demo, the independent checks
	@scripts/test

fuzz: setup ## an engine that sees what it reaches looks for bytes that break a decoder, SECONDS=n each
	@scripts/fuzz $(SECONDS)

bench: setup ## the agent beside the libraries under it, as one table; PARTS="formats memory aggregate buffer drain process"
	@cargo bench --locked -p edge-agent --bench agent -- $(PARTS)

demo: build ## one simulated hour of three stores in about two minutes, with every fault; DEMO_MINUTES=n
	@target/bin/fakes demo --dir target/demo --programs target/bin --minutes $(DEMO_MINUTES)

clean-demo: ## removes all that the demo left
	@if [ -x target/bin/fakes ]; then target/bin/fakes stack down --dir target/demo; fi
