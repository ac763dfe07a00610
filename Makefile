# `make all_tables` makes the study, `make test` runs the tests; both make the environment when it is missing.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
CORES ?= $(shell nproc)
SCALE ?= embedded
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
CLUSTER := $(VENV)/cluster
export PATH := $(CURDIR)/$(BIN):$(PATH)
LAYER := $(if $(filter-out embedded,$(SCALE)),--configfile workflow/scales/$(SCALE).yaml)
PROFILES := $(PROFILE) $(filter paper,$(SCALE))
WHERE := $(if $(PROFILE),$(PROFILES:%=--profile workflow/profiles/%),--cores $(CORES))
OPTIONS := $(WHERE) --rerun-incomplete --keep-going --scheduler greedy --logger study $(LAYER)
TARGETS := all_tables table_main table_freeze table_scratch table_auxiliary \
	table_fast_injection table_executed_steps correlation published

LIBERO := .venv-libero
LIBERO_LOCK := envs/libero/requirements.lock

.PHONY: help env env-libero env-lmms-eval cluster test test-libero test-slurm lint schema report $(TARGETS)

help:
	@echo "make all_tables     every table and figure, below results/ (SCALE=smoke: in minutes, without learning)"
	@echo "make table_main     one table; also table_freeze, table_scratch, table_auxiliary,"
	@echo "                    table_fast_injection, table_executed_steps (paper scale), correlation"
	@echo "                    (PROFILE=slurm: on a cluster, see docs/cluster.md; also generic, kubernetes)"
	@echo "make published      the same analysis of the paper's numbers alone, in seconds"
	@echo "make report         results/$(SCALE)/report.html, one page to open in a browser, after all_tables"
	@echo "make test, lint     the tests; the linters"
	@echo "make test-libero    tests on the real LIBERO simulator, in $(LIBERO), from envs/libero"
	@echo "make env            the environment in $(VENV), from requirements.lock"
	@echo "make env-lmms-eval  another one in $(VENV)-lmms-eval, for capability scores by lmms-eval"
	@echo "make test-slurm     the cluster profiles on a Slurm of one node, started for the tests"
	@echo "make cluster        what Snakemake needs for clusters, into the same (docs/cluster.md)"

$(TARGETS): $(READY) $(if $(PROFILE),$(CLUSTER))
	$(BIN)/snakemake $@ $(OPTIONS)

report: all_tables
	$(BIN)/snakemake all_tables --report results/$(SCALE)/report.html \
		--report-html-stylesheet-path workflow/report/style.css $(LAYER)

env: $(READY)

$(READY): requirements.lock pyproject.toml workflow/environment.sh
	PYTHON=$(PYTHON) workflow/environment.sh $(VENV)
	@touch $@

env-lmms-eval: $(VENV)-lmms-eval/ready

$(VENV)-lmms-eval/ready: envs/lmms-eval.txt envs/lmms-eval.lock
	$(PYTHON) -m venv $(VENV)-lmms-eval
	$(VENV)-lmms-eval/bin/python -m pip install --quiet --requirement envs/lmms-eval.txt
	@touch $@

cluster: $(CLUSTER)

$(CLUSTER): envs/cluster.lock $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --requirement envs/cluster.lock
	@touch $@

test: $(READY)
	$(BIN)/pytest -n $(CORES) --dist loadfile

env-libero: $(LIBERO)/ready

$(LIBERO)/ready: $(LIBERO_LOCK) pyproject.toml envs/libero/environment.sh workflow/environment.sh
	PYTHON=$(PYTHON) envs/libero/environment.sh $(LIBERO)
	@touch $@

test-libero: $(LIBERO)/ready
	$(LIBERO)/bin/pytest tests/evaluation/simulators/libero

test-slurm: $(CLUSTER)
	tests/slurm/install.sh
	$(BIN)/pytest -m slurm tests/slurm

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

schema: $(READY)
	$(BIN)/vlm4vla schema --output workflow/schemas/config.schema.json
