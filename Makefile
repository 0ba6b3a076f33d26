# Everything sets itself up: `make demo` and `make test` work on a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PACKAGES := archive_service ingest search retention
WORKERS ?= 2

# Tests and demo start hundreds of processes, which would each compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-full check format bench sbom audit clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q $(PACKAGES)
	touch $(STAMP)

demo: setup
	$(BIN)/python -m tests.demo $(if $(KEEP),--keep,)

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-full: setup
	ARCHIVE_TEST_FULL=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python -m bench.intake

# What runs, as the lock file has it, in CycloneDX: sbom.json.
sbom: setup
	$(BIN)/python -m tests.packaging.sbom sbom.json

# What is known against the locked dependencies, by pip-audit in a folder of its own; it asks the database of advisories
# of the public index, or what AUDIT names (AUDIT="-s osv --osv-url URL"). What cannot be audited is a failure.
audit: .audit/bin/pip-audit
	.audit/bin/pip-audit --strict --disable-pip --require-hashes $(AUDIT) -r requirements.lock || { echo "audit: NOT clean: advisories are named above, or the service could not be asked" >&2; exit 1; }

.audit/bin/pip-audit:
	python3 -m venv .audit
	.audit/bin/pip install --quiet pip-audit==2.10.1

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .audit
