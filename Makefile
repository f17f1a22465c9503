# SPDX-License-Identifier: Apache-2.0
# Needs python3 (3.10 to 3.13) with venv, and a C++ compiler. Everything goes into .venv and build/.
PYTHON ?= python3
export PYTHON

VENV := scripts/venv.sh

.PHONY: help setup demo soak test lint format colcon docs-table clean

help:                ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:               ## create .venv and install the package into it
	@scripts/setup.sh

demo: setup          ## a trained policy does the task: make demo MODE=rtc DELAY_MS=200 EPISODES=20 POLICY=DIR
	@$(VENV) python scripts/demo.py $(if $(MODE),--mode $(MODE)) $(if $(DELAY_MS),--delay-ms $(DELAY_MS)) \
		$(if $(EPISODES),--episodes $(EPISODES)) $(if $(POLICY),--policy $(POLICY)) $(ARGS)

soak: setup          ## an hour with faults at random: make soak ARGS="--minutes 5 --seed 1"
	@$(VENV) python scripts/soak.py $(ARGS)

test: setup lint     ## lint, then all tests against the installed package: make test ARGS="-k gate"
	@scripts/test.sh $(ARGS)

lint: setup          ## formatting, lint rules, types
	@$(VENV) ruff format --check --quiet .
	@$(VENV) ruff check --quiet .
	@$(VENV) mypy

format: setup        ## format and fix what can be fixed
	@$(VENV) ruff format .
	@$(VENV) ruff check --fix .

colcon: setup        ## colcon build into install/, against the ROS 2 in .venv
	@scripts/colcon.sh build

docs-table: setup    ## write docs/parameters.md from the parameter schema
	@$(VENV) python scripts/parameter_table.py

clean:               ## remove what this file made
	rm -rf .venv build install log demo soak .mypy_cache .pytest_cache .ruff_cache
