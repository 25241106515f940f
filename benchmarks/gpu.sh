#!/bin/sh
# Everything that needs a GPU, on any machine with one: the marked tests, then a training step against TRL's, generation
# and memory. Writes benchmarks/gpu.json and benchmarks/gpu.md.
#
#     benchmarks/gpu.sh [MODEL...]      folders or hub ids; by default of 0.5B, 1.5B and 8B, as far as they fit
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
exec "$PYTHON" -m benchmarks.gpu "$@"
