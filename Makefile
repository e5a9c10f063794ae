# Everything here needs make and Python 3.11 or newer, nothing else: .venv is made on first use, and made
# again only when pyproject.toml or constraints.txt changed.
#
#   PYTHON       the interpreter to make .venv with; without it one is searched for
#   TORCH_INDEX  address of a further package index to take torch from. PyPI's torch for Linux brings CUDA
#                (gigabytes); the addresses of smaller CPU builds and of other CUDA versions are listed at
#                https://pytorch.org/get-started/locally. The version stays the one in constraints.txt.
#   ARGS         passed on: make serve ARGS="--port 50052", make test ARGS="-k sessions"

PYTHON ?=
TORCH_INDEX ?=
ARGS ?=
VENV ?= .venv

BIN := $(VENV)/bin
SERVER := $(VENV)/.installed-server
DEV := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check
PROTOS := $(wildcard protos/gatehouse/v1/*.proto)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test demo lint ruff types proto-lint proto-breaking proto-drift protos proto-image \
        constraints install clean distclean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo "Variables (PYTHON, TORCH_INDEX, ARGS) are explained at the top of the Makefile."

# --- What one runs ------------------------------------------------------------------------------------

serve: $(SERVER) ## Start the server with the embedded models, in the foreground
	@exec $(BIN)/gatehouse serve $(ARGS)

demo: $(SERVER) ## Start a server, suggest, classify, evaluate, show metrics, stop
	@PATH="$(abspath $(BIN)):$$PATH" examples/demo.sh

test: $(DEV) ## Run the tests
	@# They start dozens of servers: compiled once, also where Python is told not to write what it compiles.
	@$(BIN)/python -m compileall -q server client benchmarks
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ARGS)

# --- Static checks ------------------------------------------------------------------------------------

lint: ruff types proto-lint proto-breaking proto-drift ## Run every static check

ruff: $(DEV) ## Check style and formatting
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(DEV) ## Check types
	$(BIN)/python -m mypy

proto-lint: $(DEV) ## Check style and formatting of the protos
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

proto-breaking: $(DEV) ## Check that clients of the last release still work
	$(BIN)/buf breaking --against protos/image.binpb

proto-drift: $(DEV) ## Check that the committed stubs are those of the protos
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT \
	  && $(call protoc,"$$fresh") && touch "$$fresh/gatehouse/v1/__init__.py" \
	  && diff -r --exclude=__pycache__ "$$fresh/gatehouse/v1" client/gatehouse/v1 \
	  || { echo "The stubs are not those of the protos: run make protos and commit the result." >&2; exit 1; }

# --- Files made from others, committed ----------------------------------------------------------------

# $(1) is the folder to write to.
protoc = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc -I protos \
  --python_out=$(1) --mypy_out=quiet:$(1) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) $(PROTOS)

protos: $(DEV) ## Make the stubs again from the protos
	$(call protoc,client)

proto-image: $(DEV) ## Record the protos of a release, for proto-breaking (at a release only)
	$(BIN)/buf build --exclude-source-info --output protos/image.binpb

constraints: $(DEV) ## Write constraints.txt from what .venv holds
	$(BIN)/python .ci/constraints.py --write

# --- Installation -------------------------------------------------------------------------------------

install: $(DEV) ## Install everything the targets above need

# torch from TORCH_INDEX wins over PyPI's: its local version (2.x.y+cpu) sorts after the plain one.
INSTALL = @echo 'Installing into $(VENV), once; torch is the largest part ...' && \
  $(PIP) install --quiet --constraint constraints.txt --build-constraint constraints.txt \
  $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") --editable

$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.14 python); do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    exec "$$python" -m venv $(VENV); \
	  fi; \
	done; \
	echo "No Python 3.11 or newer with its venv module found$(if $(PYTHON), at $(PYTHON)): install one" \
	  "(Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	exit 1

$(SERVER): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt pip
	$(INSTALL) '.[server]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt pip
	$(INSTALL) '.[dev]'
	@touch $(SERVER) $@

# --- Tidying ------------------------------------------------------------------------------------------

clean: ## Remove caches and built files
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too: back to what was cloned
	rm -rf $(VENV)
