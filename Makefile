# Two commands to know: `make run` and `make test`. Both set up what is missing.
PY := .venv/bin/python
SLUICE := .venv/bin/sluice

.PHONY: run test lint types policies check bench clients faults fuzz score lock clean help

run: .setup-run ## start Sluice: the demo, or `make run ARGS="run -- COMMAND"`
	@$(SLUICE) $(or $(ARGS),demo)

test: .setup-dev ## the tests
	@$(PY) -m pytest -n auto --dist loadfile

lint: .setup-dev ## format and lint
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .

types: .setup-dev ## mypy --strict
	@.venv/bin/mypy

policies: .setup-dev ## the cases beside the starter policies
	@$(SLUICE) policy check policies
	@$(SLUICE) policy test policies

check: lint types policies test ## what CI runs

bench: .setup-dev ## write docs/bench.md anew; half of it: ARGS="--only ledger"
	@$(PY) scripts/bench.py $(ARGS)

clients: .setup-dev ## hold real clients for 90 s, write docs/clients.md; short: ARGS="--seconds 8"
	@$(PY) scripts/clients.py $(ARGS)

faults: .setup-dev ## strike 10,000 holds with faults, and write docs/faults.md anew
	@$(PY) scripts/faults.py $(or $(ARGS),--write)

fuzz: .setup-dev ## fuzz the decoders for a minute
	@$(PY) scripts/fuzz.py --seconds $(or $(SECONDS),60)

score: .setup-dev ## judge a labelled corpus: make score CORPUS=folder
	@$(PY) scripts/score.py $(CORPUS) -- --no-borderline
	@$(PY) scripts/leave_one_out.py $(CORPUS) -- --no-borderline
	@$(PY) scripts/evasions.py $(CORPUS)

lock: ## pin the dependencies anew (needs uv)
	@scripts/lock.sh

clean: ## remove what setting up made
	@rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

help: ## this text
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 18

.PHONY: .setup-run .setup-dev
.setup-run:
	@scripts/setup.sh run
.setup-dev:
	@scripts/setup.sh dev
