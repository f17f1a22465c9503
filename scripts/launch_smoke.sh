#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Starts the simulated robot and the node with the real `ros2 launch` and looks at them with the real `ros2`. Needs a sourced
# install; used by the Jazzy job of CI.
set -euo pipefail
set -m # a process group for the launch, to be interrupted as a whole like with Ctrl-C
log=$(mktemp)

ros2 launch policy_ros act.launch.py sim:=true >"$log" 2>&1 &
launch=$!
finish() {
    kill -INT -- -$launch 2>/dev/null || true
    wait $launch || true
    ros2 daemon stop >/dev/null 2>&1 || true
    cat "$log"
    rm -f "$log"
}
trap finish EXIT

# within SECONDS TEXT COMMAND...: repeat the command until it prints the text.
within() {
    local deadline=$((SECONDS + $1)) text=$2 output=
    shift 2
    while ((SECONDS < deadline)); do
        output=$(timeout 15 "$@" 2>&1 || true)
        [[ $output != *"$text"* ]] || { echo "ok: $*: $text" && return; }
        sleep 1
    done
    echo "failed: \`$*\` never printed '$text', last: $output" >&2
    return 1
}

within 90 "active [3]" ros2 lifecycle get /policy
within 20 "execution.mode" ros2 param list /policy
within 20 "Description" ros2 param describe /policy execution.mode
within 20 "Set parameter successful" ros2 param set /policy execution.mode sync
within 20 "sync" ros2 param get /policy execution.mode
within 20 "Available: overlap, sync" ros2 param set /policy execution.mode nonsense
within 20 "average rate" timeout -s INT 8 ros2 topic hz /camera/top/image_raw
within 20 "average rate" timeout -s INT 8 ros2 topic hz /policy/action_chunk
within 20 "chunks:" ros2 topic echo --once /policy/status
within 20 "Transitioning successful" ros2 lifecycle set /policy deactivate
within 20 "inactive [2]" ros2 lifecycle get /policy
within 20 "Transitioning successful" ros2 lifecycle set /policy cleanup
