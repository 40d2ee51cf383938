# `make demo` runs the whole story on the twin; `make test` runs every check. Both make their own environment.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Python keeps what it has compiled, whatever the caller prefers: tests start `lab` as processes of its own, again
# and again, and each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types unit collected packages servers oracles fuzz bench-analyser bench-smb bench-sftp bench-bisect story-bisect clean help

help:
	@echo "make demo   the whole story on the twin, one HTML report"
	@echo "make test   lint, types, layers, unit, property, twin and real-server tests"
	@echo "make fuzz   140,000 damaged dumps, symbol files and SMB2 answers against their readers"
	@echo "make bench-analyser   the analyser's speed, against its goals and other programs"
	@echo "make bench-smb   SMB2 reads, against their goals and other clients; needs root"
	@echo "make bench-sftp   fetching a dump over SFTP, against the sftp command and paramiko"
	@echo "make bench-bisect   the search for a culprit, against its goals and other searches; most of an hour"
	@echo "make story-bisect   a bisect on four twins, with every kind of culprit; twenty minutes"

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[twin]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/lab demo

# What fetches and what computes, side by side; the output of each in one piece.
test:
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint servers oracles
	@$(MAKE) --no-print-directory --jobs 2 --output-sync types collected
	@$(MAKE) --no-print-directory unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

packages:
	PYTHON=$(PYTHON) tests/servers/install.sh packages

servers: packages $(VENV)/.dev
	PYTHON=$(PYTHON) tests/servers/install.sh

oracles:
	PYTHON=$(PYTHON) tests/oracles/install.sh

# Every file of tests can be imported. Also compiles them, which else each process of `unit` does for itself.
collected: $(VENV)/.dev
	$(BIN)/python -m pytest --collect-only --quiet --quiet --quiet

# Not bin/pytest: impacket puts scripts named like modules (smbclient.py) into bin, and they would be found first.
# Each file of tests in one of as many processes as twice the processors: half of the time is spent waiting; not
# more than 12, as each takes some 700 MB and the longest file decides. In the order of the folders: the long
# stories of the twin come before the many short unit tests, not last.
unit: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses $$((2 * $$(getconf _NPROCESSORS_ONLN))) --maxprocesses 12 \
		--dist loadfile --no-loadscope-reorder

# 140,000 damaged dumps, PDBs, cabinets, symbol files and SMB2 answers; about twenty minutes on one core.
fuzz: $(VENV)/.dev oracles
	$(BIN)/python tests/fuzz/run.py

bench-analyser: $(VENV)/.dev oracles
	$(BIN)/python -m benchmarks.analyser

bench-smb: $(VENV)/.dev servers
	PYTHON=$(PYTHON) benchmarks/install.sh
	$(BIN)/python -m benchmarks.smb

bench-sftp: $(VENV)/.dev servers
	$(BIN)/python -m benchmarks.sftp

bench-bisect: $(VENV)/.dev
	PYTHON=$(PYTHON) benchmarks/install.sh packages
	$(BIN)/python -m benchmarks.bisect

story-bisect: $(VENV)/.dev
	BUGCHECK_LAB_LONG_STORIES=1 $(BIN)/python -m pytest tests/twin/test_bisect_story.py tests/twin/test_bisect_resume.py -rP --durations 0

clean:
	rm -rf $(VENV) .venv-oracles .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
