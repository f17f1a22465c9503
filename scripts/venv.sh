#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a program of .venv as if the environment were activated: scripts/venv.sh python scripts/demo.py
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
VIRTUAL_ENV=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.venv
export VIRTUAL_ENV PATH="$VIRTUAL_ENV/bin:$PATH"
exec "$@"
