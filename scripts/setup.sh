#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Brings .venv up to date: the environment, the pinned requirements, the built package. Does nothing where nothing changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
venv=$PWD/.venv
log=$venv/setup.log

fail() {
    echo "make setup: $*" >&2
    exit 1
}

check_python() {
    command -v "$python" >/dev/null || fail "'$python' not found; install Python 3.10 to 3.13, or name one: make PYTHON=/path/to/python3.12"
    local found
    found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "'$python' does not run"
    case $found in
    3.10 | 3.11 | 3.12 | 3.13) ;;
    *) fail "needs Python 3.10 to 3.13, but '$python' is $found; name another one: make PYTHON=/path/to/python3.12" ;;
    esac
}

check_compiler() {
    local candidate
    for candidate in ${CXX:-} c++ g++ clang++; do
        command -v "$candidate" >/dev/null && return
    done
    fail "no C++ compiler found, the ROS messages need one; install g++ or clang++, or set CXX to one"
}

# The environment of another folder or another Python is made anew.
create_environment() {
    local wanted
    wanted="$venv $("$python" -c 'import sys; print(sys.version, sys.base_prefix)')"
    [[ $(cat "$venv/made-for" 2>/dev/null) != "$wanted" ]] || return 0
    rm -rf "$venv"
    "$python" -m venv "$venv" >/dev/null ||
        fail "'$python -m venv' failed; on Debian and Ubuntu it is in the package python3-venv"
    echo "$wanted" >"$venv/made-for"
}

explain_pip() {
    local reason
    if grep -qE 'NewConnectionError|ConnectTimeout|NameResolution|Temporary failure|Network is unreachable|ReadTimeout|ProxyError|SSLError|Connection (refused|reset|broken)' "$log"; then
        fail "no connection to the package index, see $log; check the network (or the proxy in https_proxy) and run it again"
    fi
    reason=$(grep -m1 -E '^ERROR' "$log" || tail -n 1 "$log")
    fail "$1, see $log: $reason"
}

install_requirements() {
    local wanted
    wanted=$(cat requirements/*.txt | sha256sum)
    [[ $(cat "$venv/requirements-installed" 2>/dev/null) != "$wanted" ]] || return 0
    echo "make setup: installing the requirements into .venv; the first time takes minutes and downloads ROS 2 and torch"
    rm -f "$venv/requirements-installed"
    "$venv/bin/python" -m pip install --disable-pip-version-check --retries 2 -r requirements/pinned.txt >"$log" 2>&1 ||
        explain_pip "the requirements could not be installed"
    echo "$wanted" >"$venv/requirements-installed"
}

install_package() {
    local wanted
    wanted=$({
        cat "$venv/requirements-installed"
        find policy_ros msg launch config checkpoints cmake scripts/*.in package.xml CMakeLists.txt setup.py pyproject.toml \
            -name __pycache__ -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
    } | sha256sum)
    [[ $(cat "$venv/package-installed" 2>/dev/null) != "$wanted" ]] || return 0
    check_compiler
    echo "make setup: building and installing policy_ros"
    rm -f "$venv/package-installed"
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-build-isolation --no-deps --no-index \
        --force-reinstall . >"$log" 2>&1 || explain_pip "the package could not be built"
    echo "$wanted" >"$venv/package-installed"
}

source scripts/environment.sh
[[ ${#foreign_variables[@]} -eq 0 ]] ||
    echo "make setup: .venv brings its own ROS 2; ignoring ${foreign_variables[*]} of this shell" >&2
check_python
[[ -e $venv/package-installed ]] || check_compiler # before the minutes of downloading
create_environment
install_requirements
install_package
