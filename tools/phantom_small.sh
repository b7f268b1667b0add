#!/usr/bin/env bash
# Makes phantom-small, the model that comes with the package, from nothing: tools/phantom_small.sh FOLDER
# On two CPU cores with AVX-512 some two hours; a run that is stopped goes on. The model is then put into the package,
# scored on new patients, and its card is written. The seeds of the new patients are used once: give others next time.
set -euo pipefail
clone=$(cd "$(dirname "$0")/.." && pwd)
shipped=$clone/src/diffvqa/shipped/phantom-small
mkdir -p "${1:?give the folder that everything is made in}"
cd "$1"

[ -d cohort ] || diffvqa synth cohort --patients 16000 --seed 2700
diffvqa prepare mimic:cohort --out store --size 128
diffvqa pretrain "$clone/configs/phantom/pretrain.yaml" store=store out=captioner
diffvqa finetune "$clone/configs/phantom/finetune.yaml" store=store encoder=captioner out=model
python "$clone/tools/ship.py" model store

score() { # NAME, then how its patients are made
  [ -d "$1" ] || diffvqa synth "$1" "${@:2}"
  diffvqa prepare "mimic:$1" --out "$1-store" --size 128
  diffvqa evaluate phantom-small "$1-store" --truth "$1/truth" --out "$1-evaluation"
}
score test --patients 1000 --seed 9101
score change --set change --patients 200 --seed 9102
score acquisition --set acquisition --patients 80 --seed 9103

diffvqa card phantom-small --evaluation test-evaluation --out card.md
# What comes with the package has the package's licence.
sed -e 's/^license: other$/license: apache-2.0/' -e '/^license_name:/d' card.md > "$shipped/README.md"
