#!/usr/bin/env bash
# From a bare clone to a plan: install, train a small model on the bundled Hopper data, plan with it, and compare.
#
#     bash scripts/quickstart.sh
set -euo pipefail
source "$(dirname "$0")/venv.sh"
install ''
export MUJOCO_GL=${MUJOCO_GL:-egl}
dataset=hopper-mixed-ppo
logs=logs/$dataset

renderer=Renderer  # a machine that cannot draw plans all the same
"$VENV/bin/python" -c 'import mujoco; mujoco.GLContext(64, 64)' 2>/dev/null || renderer=None

plan() {  # the model to plan with, and further flags; the bundled Q-functions rank its candidates
    "$VENV/bin/python" scripts/plan.py --dataset $dataset --gpt_loadpath "gpt/$1" --prefix "plans/$1/" \
        --q_loadpath iql/bundled --n_episodes 10 --renderer $renderer --vis_freq 200 "${@:2}"
}

# The bundled model plans on one core while another trains on the other.
mkdir -p "$logs"
plan bundled --threads 1 --verbose False > "$logs/bundled.txt" 2>&1 & bundled=$!
"$VENV/bin/python" scripts/train.py --dataset $dataset --exp_name gpt/quickstart --n_epochs 4 --threads 1
plan quickstart
wait $bundled || { cat "$logs/bundled.txt"; exit 1; }

echo
"$VENV/bin/python" plotting/compare.py "$logs/gpt/quickstart" "$logs/plans/quickstart" "$logs/plans/bundled"
echo
echo "Videos:          $(ls "$logs"/plans/*/*/0/rollout.mp4 2>/dev/null | xargs || true)"
echo "Learning curve:  $logs/gpt/quickstart/learning_curve.png"
echo "Next:            $VENV/bin/python scripts/plan.py --help"
