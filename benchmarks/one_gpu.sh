#!/usr/bin/env bash
# The recipe of phantom-small, larger, on one GPU in a quarter of an hour: benchmarks/one_gpu.sh BUDGET OUT [PART]
#
# BUDGET: seconds that this call may take. OUT: the folder that weights, logs and the table of scores come to.
# PART: 1 draws the patients and trains the encoder (8 minutes), 2 trains the language model and scores it (3 minutes);
# without it both, one after the other. The same call again goes on. Work lies in runs/one-gpu, or in $WORK.
# On a machine without a GPU everything is tiny: a rehearsal. The environment must hold torch and transformers; other
# packages that it lacks can lie as wheels in $WHEELS.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${WHEELS:-}" ]; then
  python3 -m pip install -q --no-index --no-deps --upgrade --target runs/site "$WHEELS"/*.whl
fi
export PYTHONPATH="src:runs/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" benchmarks/one_gpu.py "$@"
