#!/usr/bin/env bash
# Makes phantom-small, the model that comes with the package, from nothing: tools/phantom_small.sh FOLDER
# On two CPU cores with AVX-512 some two hours; a run that is stopped goes on. The model is then put into the package.
set -euo pipefail
cd "${1:?give the folder that everything is made in}"

[ -d cohort ] || diffvqa synth cohort --patients 16000 --seed 2700
diffvqa prepare mimic:cohort --out store --size 128
configs=$(python -c 'from diffvqa.demo import config_file; print(config_file("phantom"))')
diffvqa pretrain "$configs/pretrain.yaml" store=store out=captioner
diffvqa finetune "$configs/finetune.yaml" store=store encoder=captioner out=model
python "$(dirname "$(readlink -f "$0")")/ship.py" model store
