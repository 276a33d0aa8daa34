# `make demo` and `make test` do all their set-up themselves: they need Python ≥ 3.10 with pip and venv, and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format bench gpu clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed  ## vanilla, LoRA, PostPKT and teacher on the four nano benchmarks, as a table
	$(BIN)/python -m pkt_eval.demo

test: $(VENV)/.installed  ## the fast tests; real data and models are used where they are found
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed  ## ratios against the stock way; nothing is asserted
	$(BIN)/python -m pytest benchmarks -s $(PYTEST_ARGS)

gpu:  ## checks, times and memory on a GPU, with the Python that has its torch; see benchmarks/gpu.sh
	PYTHON=$(PYTHON) benchmarks/gpu.sh

$(VENV)/.installed: pyproject.toml constraints.txt build_backend.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
