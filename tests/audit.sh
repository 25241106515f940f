#!/bin/sh
# Looks the pinned packages up in the database of known vulnerabilities, from an environment of its own: what pip-audit
# needs is none of the project's business. Ends with 0 if none is known, 1 if some are, 69 if nothing could be looked up.
set -eu
cd "$(dirname "$0")/.."
env=.venv/audit
if ! test -x "$env/bin/pip-audit"; then
    "${PYTHON:-python3}" -m venv "$env"
    "$env/bin/python" -m pip install --quiet pip-audit
fi
found=$(mktemp)
trap 'rm -f "$found" "$found.log"' EXIT
if "$env/bin/pip-audit" --strict --disable-pip --no-deps --requirement constraints.txt --output "$found" 2>"$found.log"
then
    echo "no known vulnerabilities in constraints.txt"
    exit 0
fi
if test -s "$found"; then
    cat "$found"
    exit 1
fi
cat "$found.log" >&2
echo "nothing was checked: the database of known vulnerabilities cannot be reached from here, or lacks a package (see" >&2
echo "above); run \`make audit\` where the package index answers in full" >&2
exit 69
