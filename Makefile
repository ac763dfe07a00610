# `make all_tables` makes the study and `make test` runs the tests. Both make the environment first if it is missing.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The environment takes PYTHON, or else the first of python3.11, python3.12 and python3.13 that works.
PYTHON ?=
PYTHON311 = $(or $(PYTHON),python3.11)
PYTHON312 = $(or $(PYTHON),python3.12)
# The build of torch: cpu, the address of an index, or a folder with wheels (docs/set-up.md).
TORCH ?=
# SLIM=no keeps the files of packages that workflow/slim.py deletes.
SLIM ?=
CORES ?= $(shell nproc)
SCALE ?= embedded
CELL ?= kosmos-2/none/full/bridge
# Training seeds of the main table; empty: those of the configuration.
SEEDS ?=
# Of `make test-faults`, which goes on where it was interrupted.
FAULTS ?= /tmp/vlm4vla-faults
KILLS ?= 40
SEED ?= 0
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
CLUSTER := $(VENV)/cluster
TESTS := $(VENV)/tests
export PATH := $(CURDIR)/$(BIN):$(PATH)
LAYERS := $(filter-out embedded,$(if $(filter released 2026,$(SCALE)),paper) $(if $(filter real,$(SCALE)),metaworld) $(if $(filter libero-%,$(SCALE)),libero) $(SCALE))
LAYER := $(if $(LAYERS),--configfile $(LAYERS:%=workflow/scales/%.yaml))
OVERRIDE := $(if $(SEEDS),--config 'tables={main: {seeds: [$(shell seq -s , 0 $$(($(firstword $(SEEDS)) - 1)))]}}')
PROFILES := $(PROFILE) $(filter paper,$(LAYERS))
WHERE := $(if $(PROFILE),$(PROFILES:%=--profile workflow/profiles/%),--cores $(CORES))
OPTIONS := $(WHERE) --rerun-incomplete --keep-going --scheduler greedy --logger study $(LAYER) $(OVERRIDE)
TARGETS := all_tables table_main table_freeze table_scratch table_auxiliary \
	table_fast_injection table_executed_steps correlation table_transfer published

LIBERO := .venv-libero
LIBERO_LOCK := envs/libero/requirements.lock
# The scripted demonstrations of SCALE=libero.
LIBERO_SET := demonstrations/libero
LIBERO_TASKS := 5
# Pixels: the `image_size` of that scale. With another size, training and evaluation would resize images otherwise.
LIBERO_SIZE := 96
SERVER := $(VENV)/vla-eval
METAWORLD := .venv-metaworld
METAWORLD_LOCK := envs/metaworld/requirements.lock
LEROBOT := .venv-lerobot
LEROBOT_LOCK := envs/lerobot/requirements.lock
TORCHVISION := .venv-torchvision
TORCHVISION_LOCK := envs/torchvision/requirements.lock
CRATE := .venv-rocrate
CRATE_LOCK := envs/rocrate/requirements.lock
BARNARD := .venv-barnard
BARNARD_LOCK := envs/barnard/requirements.lock
BROWSER := .venv-browser
BROWSER_LOCK := envs/browser/requirements.lock
# `make real-backbone` makes the folder REAL, with so many layers of the language model and images of REAL_SIZE pixels.
PARTS := .venv-parts
PARTS_LOCK := envs/parts/requirements.lock
REAL ?= checkpoints/lite0-smollm2
REAL_LAYERS ?= 4
REAL_SIZE ?= 128
REAL_UPDATES ?= 600
ASSEMBLE = $(BIN)/vlm4vla assemble-backbone --layers $(REAL_LAYERS) --image-size $(REAL_SIZE) \
	--questions results/embedded/questions --updates $(REAL_UPDATES) --output $(REAL)

GOALS := help env env-barnard env-browser env-lerobot env-libero env-lmms-eval env-metaworld env-parts env-rocrate \
	env-test env-torchvision env-vla-eval cluster cell real-backbone test test-all test-browser test-crate test-faults \
	test-lerobot test-libero test-metaworld test-parts test-slurm test-torchvision lint schema report $(TARGETS)
FILES := $(READY) $(CLUSTER) $(TESTS) $(SERVER) $(VENV)-lmms-eval/ready $(LIBERO)/ready $(METAWORLD)/ready \
	$(LEROBOT)/ready $(CRATE)/ready $(BARNARD)/ready $(BROWSER)/ready $(TORCHVISION)/ready $(PARTS)/ready

# A misspelt word ends with one line before anything runs. `suggest` needs Python, but no environment.
suggest = $(or $(shell PYTHONPATH=src $(or $(PYTHON),python3) -c 'import sys; \
	from vlm4vla.core.errors import suggestion; print(suggestion(sys.argv[1], sys.argv[2:]))' \
	'$(1)' $(2) 2>/dev/null),known: $(sort $(2)))
names_in = $(sort $(basename $(notdir $(wildcard $(1)))))
SCALES := embedded $(call names_in,workflow/scales/*.yaml)
UNKNOWN := $(firstword $(filter-out $(GOALS) $(FILES),$(MAKECMDGOALS)))
ifneq ($(findstring /,$(UNKNOWN)),)
$(error target '$(UNKNOWN)': make has no such target: for a file of the results, write \
	$(BIN)/snakemake $(UNKNOWN) $(strip $(WHERE) $(LAYER)))
else ifneq ($(UNKNOWN),)
$(error target '$(UNKNOWN)': unknown target: $(call suggest,$(UNKNOWN),$(GOALS)))
endif
ifneq ($(words $(SCALE))$(filter-out $(SCALES),$(SCALE)),1)
$(error SCALE=$(SCALE): unknown scale: $(call suggest,$(SCALE),$(SCALES)))
endif
ifneq ($(SEEDS),)
ifneq ($(words $(SEEDS))$(filter-out 1 2 3 4 5 6 7 8 9 10,$(SEEDS)),1)
$(error SEEDS=$(SEEDS): write a number of training seeds from 1 to 10, such as SEEDS=3)
endif
endif
ifneq ($(filter-out $(call names_in,workflow/profiles/*),$(PROFILE)),)
$(error PROFILE=$(PROFILE): unknown profile: $(call suggest,$(PROFILE),$(call names_in,workflow/profiles/*)))
endif

.PHONY: $(GOALS)

help:
	@echo "make cell           train and evaluate one policy, and print its scores (CELL=$(CELL))"
	@echo "make all_tables     make every table and figure, in results/ (SCALE=smoke: in minutes, without learning;"
	@echo "                    SEEDS=3: with three training seeds in the main table;"
	@echo "                    PROFILE=slurm, generic or kubernetes: on a cluster, see docs/cluster.md)"
	@echo "make table_main     make one table; also table_freeze, table_scratch, table_auxiliary,"
	@echo "                    table_fast_injection, table_executed_steps (paper scale), correlation,"
	@echo "                    table_transfer"
	@echo "make published      apply the same analysis to the paper's own numbers, in less than a minute"
	@echo "make report         make all tables and results/$(SCALE)/report.html, one page for the browser"
	@echo "make real-backbone  make a checkpoint with weights of released models, $(REAL)"
	@echo "                    (REAL_LAYERS=$(REAL_LAYERS) REAL_SIZE=$(REAL_SIZE); see docs/real-weights.md)"
	@echo "make test           run the tests, without those marked exhaustive, which CI runs, too"
	@echo "make test-all       run all tests"
	@echo "make test-faults    kill the smoke study 40 times, and fill the disk of each stage (FAULTS=folder; an hour)"
	@echo "make test-slurm     test the cluster profiles on a Slurm of one node, which the tests start"
	@echo "make test-libero    test on the real LIBERO simulator, in $(LIBERO)"
	@echo "make test-metaworld  test on the real MetaWorld simulator, in $(METAWORLD)"
	@echo "make test-lerobot   compare with LeRobot's own dataset classes, in $(LEROBOT)"
	@echo "make test-torchvision  check the model types that need torchvision or timm, in $(TORCHVISION)"
	@echo "make test-parts     compare that checkpoint with the models that it is made of"
	@echo "make test-crate     validate a packed study with roc-validator, in $(CRATE)"
	@echo "make test-browser   open the report in Chromium, with Playwright in $(BROWSER)"
	@echo "make lint           run the linters"
	@echo "make schema         write workflow/schemas/config.schema.json and docs/results.md"
	@echo "make env            make the environment $(VENV) from requirements.lock (TORCH=cpu: with torch for the CPU;"
	@echo "                    PYTHON=/path/of/python3.12; APT=no: install no system packages; SLIM=no: keep all"
	@echo "                    files of the packages; see docs/set-up.md)"
	@echo "make env-test       add the packages of the tests and linters to $(VENV) (make test and make lint do)"
	@echo "make cluster        add the packages that Snakemake needs for clusters to $(VENV) (docs/cluster.md)"
	@echo "make env-vla-eval   add vla-eval, which evaluates on real simulators, to $(VENV) (docs/simulators.md)"
	@echo "make env-libero     make the environment $(LIBERO) of the real LIBERO simulator (envs/libero)"
	@echo "make env-metaworld  make the environment $(METAWORLD) of the real MetaWorld simulator (envs/metaworld)"
	@echo "make env-lerobot    make the environment $(LEROBOT) of LeRobot (Python 3.12; envs/lerobot)"
	@echo "make env-torchvision  make the environment $(TORCHVISION) with torchvision and timm (envs/torchvision)"
	@echo "make env-parts      put the packages of real-backbone into $(PARTS) (envs/parts)"
	@echo "make env-rocrate    make the environment $(CRATE) of roc-validator (envs/rocrate)"
	@echo "make env-barnard    make the environment $(BARNARD) of sequentialized-barnard-tests (envs/barnard)"
	@echo "make env-browser    make the environment $(BROWSER) of Playwright (envs/browser)"
	@echo "make env-lmms-eval  make the environment $(VENV)-lmms-eval, for question scores by lmms-eval"

# What a scale on a real simulator needs besides the environment.
metaworld_NEEDS := $(SERVER) $(METAWORLD)/ready
libero_NEEDS := $(SERVER) $(LIBERO)/ready $(LIBERO_SET)/meta/info.json
real_NEEDS := $(metaworld_NEEDS) $(REAL)/config.json

NEEDS := $($(if $(filter libero-%,$(SCALE)),libero,$(SCALE))_NEEDS)

$(TARGETS): $(READY) $(if $(PROFILE),$(CLUSTER)) $(NEEDS)
	$(BIN)/snakemake $@ $(OPTIONS)

cell: $(READY) $(if $(PROFILE),$(CLUSTER)) $(NEEDS)
	$(BIN)/snakemake results/$(SCALE)/cells/$(CELL).md $(OPTIONS)
	@cat results/$(SCALE)/cells/$(CELL).md

report: all_tables
	$(BIN)/snakemake all_tables --reporter study --logger study $(LAYER) $(OVERRIDE)

env: $(READY)

$(READY): requirements.lock pyproject.toml workflow/environment.sh
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" SLIM="$(SLIM)" workflow/environment.sh $(VENV)
	@touch $@

env-lmms-eval: $(VENV)-lmms-eval/ready

$(VENV)-lmms-eval/ready: envs/lmms-eval.txt envs/lmms-eval.lock
	$(PYTHON311) -m venv $(VENV)-lmms-eval
	$(VENV)-lmms-eval/bin/python -m pip install --quiet --requirement envs/lmms-eval.txt
	@touch $@

cluster: $(CLUSTER)

$(CLUSTER): envs/cluster.lock $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --requirement envs/cluster.lock
	@touch $@

env-vla-eval: $(SERVER)

$(SERVER): envs/vla-eval.lock $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --requirement envs/vla-eval.lock
	@touch $@

env-test: $(TESTS)

$(TESTS): envs/test.lock $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --requirement envs/test.lock
	@touch $@

test: $(TESTS)
	$(BIN)/pytest -m "not exhaustive and not browser" -n $(CORES) --dist loadfile

# As .ci/run does.
test-all: $(TESTS)
	$(BIN)/pytest -m "not browser" -n $(CORES) --dist loadfile

env-libero: $(LIBERO)/ready

$(LIBERO)/ready: $(LIBERO_LOCK) pyproject.toml envs/simulator.sh
	PYTHON=$(PYTHON311) envs/simulator.sh libero $(LIBERO)
	@touch $@

# The environment is no reason to record them again.
$(LIBERO_SET)/meta/info.json: | $(LIBERO)/ready
	$(LIBERO)/bin/vlm4vla libero-demonstrations --tasks $(LIBERO_TASKS) --size $(LIBERO_SIZE) --output $(LIBERO_SET)

test-libero: $(LIBERO)/ready
	$(LIBERO)/bin/pytest tests/evaluation/simulators/libero

env-metaworld: $(METAWORLD)/ready

$(METAWORLD)/ready: $(METAWORLD_LOCK) pyproject.toml envs/simulator.sh
	PYTHON=$(PYTHON311) envs/simulator.sh metaworld $(METAWORLD)
	@touch $@

test-metaworld: $(METAWORLD)/ready
	$(METAWORLD)/bin/pytest tests/evaluation/simulators/metaworld

env-lerobot: $(LEROBOT)/ready

$(LEROBOT)/ready: $(LEROBOT_LOCK) envs/lerobot/environment.sh
	PYTHON=$(PYTHON312) envs/lerobot/environment.sh $(LEROBOT)
	@touch $@

test-lerobot: $(LEROBOT)/ready $(TESTS)
	$(BIN)/pytest tests/data/lerobot/own_loader

env-torchvision: $(TORCHVISION)/ready

$(TORCHVISION)/ready: $(TORCHVISION_LOCK) pyproject.toml envs/torchvision/environment.sh
	PYTHON=$(PYTHON311) envs/torchvision/environment.sh $(TORCHVISION)
	@touch $@

test-torchvision: $(TORCHVISION)/ready
	$(TORCHVISION)/bin/pytest tests/policies/test_survey.py -k as_the_page_says

env-parts: $(PARTS)/ready

$(PARTS)/ready: $(PARTS_LOCK) $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(PARTS) --requirement $(PARTS_LOCK)
	@touch $@

# Says so if the folder exists, and was made with other numbers.
real-backbone: $(REAL)/config.json $(PARTS)/ready
	@PYTHONPATH=$(PARTS) $(ASSEMBLE)

# The environment is no reason to make it again.
$(REAL)/config.json: | $(PARTS)/ready
	$(BIN)/snakemake results/embedded/questions/provenance.json --cores $(CORES) --rerun-incomplete
	PYTHONPATH=$(PARTS) $(ASSEMBLE)

test-parts: $(PARTS)/ready $(TESTS)
	PYTHONPATH=$(PARTS) $(BIN)/pytest tests/backbones/assembly

env-rocrate: $(CRATE)/ready

$(CRATE)/ready: $(CRATE_LOCK)
	$(PYTHON311) -m venv $(CRATE)
	$(CRATE)/bin/python -m pip install --quiet --no-deps --requirement $(CRATE_LOCK)
	@touch $@

env-barnard: $(BARNARD)/ready

$(BARNARD)/ready: $(BARNARD_LOCK)
	$(PYTHON311) -m venv $(BARNARD)
	$(BARNARD)/bin/python -m pip install --quiet --no-deps --requirement $(BARNARD_LOCK)
	@touch $@

env-browser: $(BROWSER)/ready

$(BROWSER)/ready: $(BROWSER_LOCK) $(READY)
	$(BIN)/python -m venv $(BROWSER)
	$(BROWSER)/bin/python -m pip install --quiet --no-deps --requirement $(BROWSER_LOCK)
	@touch $@

test-browser: $(BROWSER)/ready $(TESTS)
	tests/browser/install.sh
	$(BIN)/pytest -m browser

test-crate: $(CRATE)/ready $(TESTS)
	$(BIN)/pytest tests/provenance/test_crate_profiles.py

test-faults: $(TESTS)
	$(BIN)/python tests/faults/kill_study.py --folder $(FAULTS)/kills --kills $(KILLS) --seed $(SEED) --cores $(CORES)
	$(BIN)/python tests/faults/full_disk.py --folder $(FAULTS)/disk

test-slurm: $(CLUSTER) $(TESTS)
	tests/slurm/install.sh
	$(BIN)/pytest -m slurm tests/slurm

lint: $(TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

schema: $(READY)
	$(BIN)/vlm4vla schema --output workflow/schemas/config.schema.json
	$(BIN)/vlm4vla columns --output docs/results.md
