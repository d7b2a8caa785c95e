# The index of commands. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help setup sandbox test check fmt fmt-check clippy build unit broker mutants bench docs generate deny clean

# Node, where the machine's own is too old (scripts/setup.sh).
export PATH := $(CURDIR)/.cache/bin:$(PATH)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

sandbox: ## Usher in one process, with a simulated org and two targets (ARGS="--users 500")
	@scripts/setup.sh sandbox
	cargo run --release -p sandbox $(if $(ARGS),-- $(ARGS))

# One after the other, cheap and likely failures first. Every step compiles the same packages with the same features, so that each
# reuses what the one before it has built.
test: ## everything that CI checks, with a real Kafka and third-party servers
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory fmt-check
	@$(MAKE) --no-print-directory clippy
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory docs
	@$(MAKE) --no-print-directory deny
	@$(MAKE) --no-print-directory broker

check: fmt-check clippy unit ## the quick part of `test`, before each commit

fmt: ## format the sources
	cargo fmt --all

fmt-check:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets -- -D warnings

# Also the binaries, which the tests in `broker` start.
build:
	cargo build --workspace --lib --bins --tests

unit: build ## tests beside the code
	cargo test --workspace --lib --bins

# Three files at a time: each test starts its own services, and what it does most is wait for leases and sessions. More would starve
# them on two cores. Among them are the golden files and generated schemas of the contract: a stale one fails.
broker: build ## tests in tests/ folders: real broker, real binaries, third-party servers (ARGS="--only polls")
	cargo run -p tidy --bin suites -- $(ARGS)
	cargo test --workspace --doc

# Never part of `test`: it builds a copy of everything. Cheap is the check that the list is whole: `cargo test -p tidy`.
mutants: ## switch off what each row of tests/mission.md asks for, see its test fail (ARGS="--rows M012,M013 --resume --jobs 4")
	@scripts/setup.sh test
	cargo run -p tidy --bin mutants -- $(ARGS)

# Never part of `test`: figures depend on the machine, and a full run takes more than an hour on two cores.
# One bench of apply-service starts the binary of ingest-service.
bench: ## speed and memory, as ratios (ARGS="--quick"; one of them: cargo bench -p ingest-service --bench snapshot)
	@scripts/setup.sh test
	cargo bench -p usher-filter -p ingest-service -- $(ARGS)
	cargo build --release -p ingest-service
	cargo bench -p apply-service -- $(ARGS)

docs: ## build the documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

generate: ## write the generated files anew (schemas, examples); read the difference
	UPDATE_SCHEMAS=1 cargo test -p usher-contract

deny: ## licences, bans and sources of dependencies
	scripts/deny.sh

clean: ## forget everything built and downloaded
	cargo clean
	rm -rf .cache
