# The three doors: make demo, make test, make lint. Only Python 3.11 or newer and make are needed.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
ARGS ?=
# Where LightGBM finds an OpenMP runtime on a machine that has none of its own (gateway/native.py).
export LD_LIBRARY_PATH := $(CURDIR)/$(VENV)/lib/native$(if $(LD_LIBRARY_PATH),:$(LD_LIBRARY_PATH))
.PHONY: demo test lint lock clean

demo: $(VENV)/ready ; @exec $(BIN)/yumen demo $(ARGS)
test: $(VENV)/ready ; $(BIN)/pytest -q $(ARGS)
lint: $(VENV)/ready
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy . && $(BIN)/lint-imports
lock: $(VENV)/ready
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra dev --generate-hashes --no-header pyproject.toml -o requirements.lock
clean: ; rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/ready: requirements.lock bootstrap.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes --only-binary :all: -r bootstrap.lock
	$(BIN)/uv pip sync -q --require-hashes --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install -q --no-deps --no-build-isolation --python $(BIN)/python -e .
	$(BIN)/python -m gateway.native
	touch $@
