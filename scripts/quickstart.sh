#!/usr/bin/env bash
# From a bare clone to a plan: install, train a small model on the bundled Hopper data, plan, and compare.
#
#     bash scripts/quickstart.sh
set -euo pipefail
source "$(dirname "$0")/venv.sh"
install ''
export MUJOCO_GL=${MUJOCO_GL:-egl}
dataset=hopper-mixed-ppo

# One thread each: the model is small, and what other threads would gain they lose waiting for one another.
"$VENV/bin/python" scripts/train.py --dataset $dataset --exp_name gpt/quickstart --n_epochs 4 --threads 1

# A machine that cannot draw plans all the same.
renderer=Renderer
"$VENV/bin/python" -c 'import mujoco; mujoco.GLContext(64, 64)' 2>/dev/null || renderer=None

# The model just trained, and beside it the bundled one: the same code, trained longer.
for model in quickstart bundled; do
    "$VENV/bin/python" scripts/plan.py --dataset $dataset --gpt_loadpath gpt/$model --prefix plans/$model/ \
        --n_episodes 5 --renderer $renderer --vis_freq 200 &
done
wait

echo
"$VENV/bin/python" plotting/compare.py logs/$dataset/gpt/quickstart logs/$dataset/plans/quickstart logs/$dataset/plans/bundled
echo
echo "Videos:          $(ls logs/$dataset/plans/bundled/*/0/rollout.mp4 2>/dev/null || echo 'none, this machine cannot draw')"
echo "Learning curve:  logs/$dataset/gpt/quickstart/learning_curve.png"
echo "Next:            .venv/bin/python scripts/plan.py --dataset $dataset --help"
