# make demo   the model that comes with the package on new synthetic patients, ends with demo/evaluation/report.html
# make demo-train   the whole way: such a model is trained first, into demo-train
# make test   the tests
# make faults  kills, full disks, damaged files and others of that kind, put into every command: twenty minutes
# make docs   the site of the documentation, into site/; site/index.html opens without a server, but its search needs one
# make mutants  faults put into the program one by one: a test must notice each
#
# All make their own environment in .venv. On a machine without an NVIDIA GPU, give PyTorch's own index of CPU builds
# (its address is on the "get started" page of pytorch.org), so that no CUDA packages are fetched:
#   make demo TORCH_INDEX=<address>

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=

bin := $(VENV)/bin
constraints := $(if $(shell command -v nvidia-smi),,-c constraints.txt)

.PHONY: demo demo-train docs test test-slow faults mutants lint format clean

demo: $(VENV)/ready
	$(bin)/diffvqa demo

demo-train: $(VENV)/ready
	$(bin)/diffvqa demo --train

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(bin)/pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/ready
	OMP_NUM_THREADS=1 $(bin)/pytest -m slow -n 2 --dist loadfile

faults: $(VENV)/ready
	$(bin)/python tests/faults

docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict

mutants: $(VENV)/ready
	$(bin)/python tests/mutants.py

lint: $(VENV)/ready
	$(bin)/ruff check . && $(bin)/ruff format --check . && $(bin)/mypy

format: $(VENV)/ready
	$(bin)/ruff check --fix . && $(bin)/ruff format .

clean:
	rm -rf $(VENV)

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(bin)/pip install $(constraints) torch --index-url $(TORCH_INDEX))
	$(bin)/pip install $(constraints) -e '.[dev]'
	touch $@
