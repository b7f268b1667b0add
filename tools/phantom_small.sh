#!/usr/bin/env bash
# Makes phantom-small, the model that comes with the package, from nothing: tools/phantom_small.sh FOLDER
# On two CPU cores with AVX-512 some two hours; a run that is stopped goes on. The model is then put into the package.
set -euo pipefail
clone=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:?give the folder that everything is made in}"
cd "$1"

[ -d cohort ] || diffvqa synth cohort --patients 16000 --seed 2700
diffvqa prepare mimic:cohort --out store --size 128
diffvqa pretrain "$clone/configs/phantom/pretrain.yaml" store=store out=captioner
diffvqa finetune "$clone/configs/phantom/finetune.yaml" store=store encoder=captioner out=model
python "$clone/tools/ship.py" model store
