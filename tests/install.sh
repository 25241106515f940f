#!/bin/sh
# Builds the wheel from what the Dockerfile copies, installs it into an empty environment outside the checkout, and runs
# its commands there, the demo on a random model of two layers. $PYTHON makes the environment.
set -eu
home=$(cd "$(dirname "$0")/.." && pwd)
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
unset PYTHONPATH
cd "$away"
"${PYTHON:-python3}" -m venv env
PATH="$away/env/bin:$PATH"
mkdir source
copied=$(sed -n 's/^COPY \(.*\) [^ ]*$/\1/p' "$home/Dockerfile")
tar -C "$home" -cf - $copied | tar -C source -xf -
pip wheel --quiet --no-deps --wheel-dir dist ./source
pip install --quiet --constraint "$home/constraints.txt" torch
pip install --quiet --constraint "$home/constraints.txt" "$(echo dist/nlft-*.whl)[demo]"

version=$(nlft --version)
echo "$version"
test "$version" = "nlft $(python -c 'from importlib.metadata import version; print(version("nlft"))')"
python -c 'import nlft, sys; assert nlft.__file__.startswith(sys.prefix), nlft.__file__'
nlft env
nlft recipes
nlft recipes copy fig10-tokens
nlft run fig10-tokens/small.yaml --dry-run
python -c 'import sys; sys.path.insert(0, sys.argv[1]); from tiny import tiny_model; tiny_model("tiny")' "$home/tests"
nlft demo --model ./tiny
for name in report.md map.html accuracy.png adapter/adapter_model.safetensors; do test -s "nlft-demo/$name"; done
echo "the wheel works where there is nothing else"
