# Everything a person does with this repository. Needs make and Python 3.11 or newer with pip.

PYTHON ?= python3
RUN := .venv/bin/python
UV := .venv/bin/uv
UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements.txt)

# torch's threads soon sleep while they wait: spinning, they take the cores from whatever runs beside
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 3000

# Of `make demo`, all optional: CHECKPOINT=weights.safetensors LABEL_STUDIO_PORT=8080 BACKEND_PORT=9090
DEMO := $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) \
        $(if $(LABEL_STUDIO_PORT),--label-studio-port $(LABEL_STUDIO_PORT)) \
        $(if $(BACKEND_PORT),--backend-port $(BACKEND_PORT))

# three processes of tests, because tests wait often: whole files each, the longest first (tests/conftest.py)
PARALLEL := --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: help install demo serve work check lint test screenshot format lock

help:  ## say what there is
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

install: .venv/.installed .venv-label-studio/.installed  ## install everything from the locks

demo: install  ## Label Studio with the backend connected and sample images in it
	$(RUN) -m ml_backend demo $(DEMO)

serve: .venv/.installed  ## the backend alone; the environment configures it
	$(if $(CHECKPOINT),ICMFORMER_CHECKPOINT=$(CHECKPOINT)) $(RUN) -m ml_backend serve

work: .venv/.installed  ## the worker that fine-tunes on accepted masks
	$(RUN) -m ml_backend work

check: lint  ## lint, types and the fast tests
	$(RUN) -m pytest $(PARALLEL) -m "not slow and not e2e"

lint: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test: install  ## every test; those with Label Studio need Chromium
	$(RUN) -m pytest $(PARALLEL)

screenshot: install  ## take the picture of the README again
	$(RUN) -m pytest tests/e2e/test_screenshot.py
	cp artefacts/e2e/label-studio.png docs/images/

format: .venv/.installed  ## let ruff write the code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: .venv/.installed  ## compile both locks again, with the newest versions that fit
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade -o requirements.txt
	$(UV) pip compile requirements-label-studio.in --universal --python-version 3.11 --upgrade -o requirements-label-studio.txt

# uv installs from the locks: unlike pip it takes torch and torchvision from one index, as a pair,
# whatever wheels pip's own configuration points to. Of pip only uv itself is asked. Compiled once here,
# modules need not be compiled at every start where Python may not keep what it compiles.
.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	@test -x $(UV) || { $(PYTHON) -m venv --without-pip .venv && \
		$(PYTHON) -m pip --python $(RUN) install --quiet uv==$(UV_VERSION); }
	$(UV) pip sync --compile-bytecode --python $(RUN) requirements.txt
	@touch $@

# Label Studio has an environment of its own: it pins versions that the backend cannot live with.
.venv-label-studio/.installed: requirements-label-studio.txt .venv/.installed
	@test -x .venv-label-studio/bin/python || $(UV) venv --quiet --python $(RUN) .venv-label-studio
	$(UV) pip sync --compile-bytecode --python .venv-label-studio/bin/python \
		requirements-label-studio.txt
	@touch $@
