# `make all_tables` makes the study, `make test` runs the tests; both make the environment when it is missing.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
CORES ?= $(shell nproc)
SCALE ?= embedded
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
OPTIONS := --cores $(CORES) --rerun-incomplete --keep-going --scheduler greedy --logger study \
	$(if $(filter-out embedded,$(SCALE)),--configfile workflow/scales/$(SCALE).yaml)
TARGETS := all_tables table_main table_freeze table_scratch table_auxiliary \
	table_fast_injection correlation published

.PHONY: help env test lint schema $(TARGETS)

help:
	@echo "make all_tables     every table and figure, below results/ (SCALE=smoke: in minutes, without learning)"
	@echo "make table_main     one table; also table_freeze, table_scratch, table_auxiliary,"
	@echo "                    table_fast_injection, correlation"
	@echo "make published      the same analysis of the paper's numbers alone, in seconds"
	@echo "make test, lint     the tests; the linters"
	@echo "make env            the environment in $(VENV), from requirements.lock"

$(TARGETS): $(READY)
	$(BIN)/snakemake $@ $(OPTIONS)

env: $(READY)

$(READY): requirements.lock pyproject.toml workflow/environment.sh
	PYTHON=$(PYTHON) workflow/environment.sh $(VENV)
	@touch $@

test: $(READY)
	$(BIN)/pytest -n $(CORES) --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

schema: $(READY)
	$(BIN)/vlm4vla schema --output workflow/schemas/config.schema.json
