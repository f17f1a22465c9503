#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs colcon with the ROS 2 of .venv: scripts/colcon.sh build [colcon's options]. On a system ROS 2 call colcon itself.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/environment.sh"
prefix=${VENV:-$root/.venv}
export PATH="$prefix/bin:$PATH" AMENT_PREFIX_PATH=$prefix
if [[ ${1:-} == build ]]; then
    set -- "$@" --cmake-args "-DCMAKE_PREFIX_PATH=$prefix" "-DPython3_EXECUTABLE=$prefix/bin/python" \
        "-DCMAKE_PROJECT_policy_ros_INCLUDE=$root/cmake/pypi_wheels.cmake" -DBUILD_TESTING=OFF
fi
exec colcon "$@"
