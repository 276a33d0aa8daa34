# Every target does all its set-up itself: it needs Python ≥ 3.11 with pip and venv, and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Files are taken whole, since their tests share what was made once, in the order that tests/conftest.py gives them.
WORKERS := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test lint types docs format bench gpu coverage clean
# .ci/house lays one tree for all.
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(VENV)/.installed  ## vanilla, LoRA, PostPKT and teacher on the four nano benchmarks, as a table
	$(BIN)/python -m pkt_eval.demo

test: $(VENV)/.installed  ## the fast tests; real data and models are used where they are found
	$(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

lint: $(VENV)/.installed  ## style, and the floors of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	linter="$(abspath $(BIN))/lint-imports" config="$(CURDIR)/pyproject.toml" && \
		cd "$$(.ci/house)" && PYTHONPATH=. "$$linter" --no-cache --no-logo "$$config"

types: $(VENV)/.installed  ## mypy --strict
	MYPYPATH="$$(.ci/house)" $(BIN)/python -m mypy -p pkt_eval

docs: $(VENV)/.installed  ## the pages, in build/site; the picture of the house is drawn anew
	$(BIN)/python docs/house.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed  ## ratios against the stock way; nothing is asserted
	$(BIN)/python -m pytest benchmarks -s $(PYTEST_ARGS)

coverage: $(VENV)/.installed  ## the tests, and the lines that none of them runs
	$(BIN)/python -m pytest $(WORKERS) --cov --cov-report=term $(PYTEST_ARGS)

gpu:  ## checks, times and memory on a GPU, with the Python that has its torch; see benchmarks/gpu.sh
	PYTHON=$(PYTHON) benchmarks/gpu.sh

$(VENV)/.installed: pyproject.toml constraints.txt build_backend.py setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
