#!/bin/sh
# Runs the tests in an environment of its own, not with the pinned versions but with the oldest direct dependencies that
# pyproject.toml allows (`lowest-direct`) or with the newest of all (`highest`). $PYTHON makes the environment.
set -eu
cd "$(dirname "$0")/.."
env=.venv/$1
test -x "$env/bin/python" || "${PYTHON:-python3}" -m venv "$env"
"$env/bin/python" -m pip install --quiet --upgrade uv
"$env/bin/uv" pip install --quiet --upgrade --python "$env/bin/python" --resolution "$1" --editable ".[test]"
# Compiled now, where nobody minds warnings about the syntax of others' modules; the tests take warnings for errors.
"$env/bin/python" -m compileall -q -j 0 "$env"/lib/python*/site-packages > /dev/null 2>&1 || true
OMP_NUM_THREADS=1 "$env/bin/python" -m pytest -n 2 --dist worksteal -m "not docs"
