PYTHON ?= python3
PORT ?= 8000
DATA ?= data
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: serve setup test test-ray check train bench load torture ui

serve: $(VENV)/.serving ## serve the shipped models on 127.0.0.1:$(PORT)
	$(BIN)/python -m service --port $(PORT)

ui: $(VENV)/.ui ## the page on 127.0.0.1:8501, and the service that it asks on $(PORT); Ctrl-C ends both
	$(BIN)/python -m ui --with-service $(PORT)

setup: $(VENV)/.development ## everything a developer needs

test: $(VENV)/.development
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-ray: $(VENV)/.ray ## the tests on a Ray cluster of two nodes, which `test` skips without Ray
	$(BIN)/python -m pytest -rs tests/service/test_on_ray.py tests/service/test_ray_cluster.py

check: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

train: $(VENV)/.development ## train CIFAR-10 from DATA, a folder or zip of images by class
	$(BIN)/python -m train cifar10 --data $(DATA)

bench: $(VENV)/.development ## the engines alone, then the service over HTTP, as tables in Markdown
	@$(BIN)/python -m tests.bench

torture: $(VENV)/.development ## faults and hostile inputs against a real process; wants a quiet machine
	$(BIN)/python -m tests.torture

load: $(VENV)/.development ## load a running service, with Locust's own page on port 8089
	$(BIN)/locust -f loadtest/locustfile.py --web-host 127.0.0.1 --host http://127.0.0.1:$(PORT)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serving: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/.ui: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[ui]'
	touch $@ $(VENV)/.serving

$(VENV)/.development: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.serving $(VENV)/.ui

$(VENV)/.ray: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev,ray]'
	touch $@ $(VENV)/.serving $(VENV)/.development $(VENV)/.ui
