#!/usr/bin/env bash
# Makes .venv what the lock file says: `scripts/setup.sh run` or `scripts/setup.sh dev`.
# Does nothing, quickly, when that is already so.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-run}
case "$kind" in
run) lock=requirements.lock ;;
dev) lock=requirements-dev.lock ;;
*) echo "sluice: error: setup: '$kind' is neither run nor dev" >&2; exit 2 ;;
esac

stamp=.venv/.sluice-$kind
want=$(cat "$lock" pyproject.toml | sha256sum)
[ -x .venv/bin/sluice ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && exit 0

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; }
find_python() {
    local name
    for name in python3.13 python3.12 python3.14 python3 python; do
        if command -v "$name" >/dev/null && recent "$name"; then echo "$name"; return; fi
    done
    return 1
}

python=$(find_python) || {
    echo "sluice: error: Python 3.12 or newer is needed, this is $(python3 --version 2>&1 || echo none)" >&2
    exit 2
}

make_venv() {
    rm -rf .venv
    "$python" -m venv .venv 2>/dev/null && return
    rm -rf .venv
    "$python" -m virtualenv -q .venv 2>/dev/null && return
    rm -rf .venv
    if command -v uv >/dev/null && uv venv -q --seed --python "$python" .venv; then return; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "sluice: setting up: Debian keeps Python's venv in a package of its own; installing it" >&2
        apt-get install -y -qq python3-venv >/dev/null 2>&1 ||
            { apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; }
        rm -rf .venv
        "$python" -m venv .venv && return
    fi
    echo "sluice: error: this Python cannot make a virtual environment" >&2
    echo "sluice: fix: sudo apt install python3-venv" >&2
    exit 2
}

if ! { [ -x .venv/bin/python ] && recent .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
    echo "sluice: setting up .venv with $("$python" --version)" >&2
    make_venv
fi
echo "sluice: setting up: installing what $lock pins (once)" >&2
pip=(.venv/bin/python -m pip --disable-pip-version-check -q)
"${pip[@]}" install --require-hashes -r "$lock"
"${pip[@]}" install --no-deps --no-build-isolation -e .
echo "$want" > "$stamp"
# What dev installs holds everything that run needs.
if [ "$kind" = dev ]; then cat requirements.lock pyproject.toml | sha256sum > .venv/.sluice-run; fi
