#!/usr/bin/env bash
# Pins the dependencies for every Python that is supported, with hashes and without a registry's name.
set -euo pipefail
cd "$(dirname "$0")/.."
compile=(uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-annotate --no-header --no-emit-index-url)
"${compile[@]}" pyproject.toml requirements-build.in -o requirements.lock
"${compile[@]}" --extra dev pyproject.toml requirements-build.in -c requirements.lock -o requirements-dev.lock
