#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs pytest against the installed package, on a ROS domain of this run's own that stays on this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export ROS_DOMAIN_ID=${ROS_DOMAIN_ID:-$((1 + RANDOM % 100))}
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
# The console script, unlike `python -m pytest`, leaves the source tree off sys.path: it has no generated messages.
exec scripts/venv.sh pytest "$@"
