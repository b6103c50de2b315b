# The commands of the house. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build test fuzz bench late fulldisk outages crash flips beside demo clean-demo faults judge large planted poison dbdown footprint
DEMO_MINUTES ?= 60
SECONDS ?= 60
SEEDS ?= 200
CASES ?= 10000
HOURS ?= 24
PARTS ?=
INPUTS ?= 100000
MEGABYTES ?= 1024
RECORDS ?= 10000
DAYS ?= 30
RUNS ?= 200
MINUTES ?= 30
BACKLOG_DAYS ?= 77

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

outages: setup ## every outage as long as it is called, ten minutes of rotations, 30 days of backlog: half an hour
	@OUTAGES=real ROTATIONS=10 ROTATION_SECONDS=60 BACKLOG_DAYS=30 cargo test --locked -p edge-agent \
		--test agent -- --nocapture outages:: certificates:: networks:: backlog::

late: setup ## late receipts and wrong clocks against a plain computation, SEEDS=n
	@SEEDS=$(SEEDS) cargo test --locked -p edge-agent --test agent -- late:: --nocapture

flips: setup ## CASES=n random flips and cuts of the buffer and its log: what is whole comes back, the rest is named
	@CASES=$(CASES) cargo test --locked -p edge-agent --test agent repair:: -- --nocapture

beside: setup ## HOURS=n simulated hours of an agent beside every inspection, and what they cost
	@HOURS=$(HOURS) cargo test --locked --release -p edge-agent --test agent concurrent:: -- --nocapture

bench: setup ## the agent beside the libraries under it, as one table; PARTS="formats memory aggregate buffer drain process"
	@cargo bench --locked -p edge-agent --bench agent -- $(PARTS)

footprint: setup ## what the shipped build takes: a day of 13,000 lines (half an hour), BACKLOG_DAYS=77 at once (a million)
	@FOOTPRINT=real BACKLOG_DAYS=$(BACKLOG_DAYS) cargo test --locked --release -p edge-agent --test agent -- \
		footprint:: backlog:: --nocapture --test-threads=1

large: setup ## how long a buffer of MEGABYTES=n takes to be verified and repaired
	@MEGABYTES=$(MEGABYTES) cargo test --locked --release -p edge-agent --test agent large:: -- --nocapture

fulldisk: CASES = 100
fulldisk: setup ## every write of the agent fails once, full disks and small quotas, CASES=100 of each
	@CASES=$(CASES) cargo test --locked -p edge-agent --test agent -- full_disk:: quota:: --nocapture

crash: setup ## every state that a power cut may leave of a recorded agent, CASES=n of them; SEED=n draws the same cuts
	@CASES=$(CASES) $(if $(SEED),SEED=$(SEED)) cargo test --locked --package edge-agent --test agent power:: -- --nocapture --test-threads=1

judge: setup ## the centre's judge against INPUTS=n damaged records
	@INPUTS=$(INPUTS) cargo test --locked --workspace --test service judge_fuzz

poison: setup ## what one bad record among RECORDS=10000 costs its neighbours
	@RECORDS=$(RECORDS) cargo test --locked --workspace --test service poison -- --nocapture

dbdown: setup ## MINUTES=n without Postgres while records come: none becomes a dead letter
	@OUTAGE_MINUTES=$(MINUTES) cargo test --locked --workspace --test service a_cut_line -- --nocapture

planted: setup ## one error at each of seven places, and DAYS=30 days without any: what finds it, where, how fast
	@DAYS=$(DAYS) cargo test --locked --workspace --test service planted -- --nocapture

faults: setup ## RUNS=n small loads with faults drawn from SEED=n: broker, Postgres, lake, object store, kills, zombies; all counts once
	@cargo build --locked --workspace
	@RUNS=$(RUNS) $(if $(SEED),SEED=$(SEED)) cargo test --locked --workspace --test service faults:: -- --skip ingest_faults --nocapture --test-threads=1

demo: build ## one simulated hour of three stores in about two minutes, with every fault; DEMO_MINUTES=n
	@target/bin/fakes demo --dir target/demo --programs target/bin --minutes $(DEMO_MINUTES)

clean-demo: ## removes all that the demo left
	@if [ -x target/bin/fakes ]; then target/bin/fakes stack down --dir target/demo; fi
