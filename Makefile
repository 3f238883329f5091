# Thin on purpose: each target calls one script or one cargo command.
.DEFAULT_GOAL := help
.PHONY: help demo test bench build install package lint clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Install what is missing, back up real files, show the metrics until Ctrl-C (ONCE=1: end at once)
	@scripts/demo

test: ## Install what the tests need and run all of them
	@scripts/test

bench: ## Measure beside other tools and write docs/benchmarks.md (ONLY="replay scrape": some rows; SCALE=1: all data; ROUNDS=5)
	@scripts/bench

build: ## Build the release programs (PROFILE=dev: those without optimizations)
	@scripts/install-packages build
	@cargo build --profile $(or $(PROFILE),release) --locked

install: ## Build and install below DESTDIR (the root by default); nothing is enabled (BUILD=no: what is built already; PROFILE=release)
	@scripts/install-packages build
	@DESTDIR='$(DESTDIR)' scripts/install

package: ## Build the Debian package into target/debian (BUILD=no, PROFILE=release: as above)
	@scripts/install-packages build
	@scripts/package

lint: ## Check form, lints and documentation
	@scripts/lint

clean: ## Remove what was built
	@cargo clean
