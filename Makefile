# What can be done with this package. `make` alone explains it.

SWIFT ?= swift
# Further flags for the compiler, as in: make build FLAGS="-Xswiftc -warnings-as-errors"
FLAGS ?=
# How `make run` starts the node, as in: make run UP="--topic chess --name kestrel"
UP ?= --topic hello
# How long each fuzz target runs.
FUZZ_SECONDS ?= 60
# Whose tests run under the sanitizers, as in: make sanitize SANITIZE=MartletMeshTests
SANITIZE ?=
ADDRESS_TESTS = $(or $(SANITIZE),MartletRuntimeTests MartletSimulatorTests MartletStoreTests MartletMetadataTests)
THREAD_TESTS = $(or $(SANITIZE),MartletRuntimeTests MartletTLSTests MartletRoutingTests MartletConfigurationTests \
	MartletStoreTests MartletTransportTests MartletSwarmTests MartletMainlineTests MartletMetadataTests \
	MartletMeshTests MartletTests MartletOperatorTests MartletCommandTests MartletSimulatorTests)
# What the benchmarks are told, as in: make bench BENCH="--filter frame --json"
BENCH ?=

SOURCES = Package.swift Sources Tests Examples Benchmarks/Package.swift Benchmarks/Sources Fuzz/Package.swift Fuzz/Sources

.PHONY: help setup build run test simulate soak bench bench-gate fuzz sanitize lint format

help:
	@echo "make run         install what building takes, build for release, and start a node: martlet up $(UP)"
	@echo "make test        set up, build, and run every test of the first tier"
	@echo
	@echo "make setup       install from Debian what is missing, and nothing else"
	@echo "make build       build everything, for debugging"
	@echo "make bench       run the benchmarks beside their yardsticks and print the table"
	@echo "make bench-gate  check the benchmarks' allocations and instructions against their thresholds"
	@echo "make fuzz        run each fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS)) and print what it covered"
	@echo "make sanitize    run the tests of SANITIZE under the address sanitizer and under the thread sanitizer"
	@echo "make lint        check the format of the code"
	@echo "make format      format the code"
	@echo
	@echo "Tests stand in three tiers:"
	@echo "  make test      debug, minutes: every unit, machine and parser, and worlds of at most a few hundred nodes"
	@echo "  make simulate  release: simulated worlds in their full sizes, with their figures printed"
	@echo "  make soak      release, hours: the same worlds from many seeds"

setup:
	@sh Scripts/setup
	@sh Scripts/setup-peers

build: setup
	$(SWIFT) build --build-tests $(FLAGS)

run:
	@sh Scripts/setup build
	$(SWIFT) build -c release --product martlet $(FLAGS)
	@exec "$$($(SWIFT) build -c release --show-bin-path $(FLAGS))/martlet" up $(UP)

test: setup
	@SWIFT="$(SWIFT)" sh Scripts/test $(FLAGS)

simulate soak: setup
	@sh Scripts/simulate $@

bench: setup
	@SWIFT="$(SWIFT)" sh Scripts/bench $(BENCH)

bench-gate: setup
	$(SWIFT) run -c release --package-path Benchmarks Benchmarks --gate Benchmarks/Thresholds.txt

fuzz: setup
	@FUZZ_SECONDS=$(FUZZ_SECONDS) sh Scripts/fuzz

sanitize: setup
	@sh Scripts/sanitize address $(ADDRESS_TESTS)
	@sh Scripts/sanitize thread $(THREAD_TESTS)

lint:
	$(SWIFT) format lint --strict --parallel --recursive $(wildcard $(SOURCES))

format:
	$(SWIFT) format --in-place --parallel --recursive $(wildcard $(SOURCES))
