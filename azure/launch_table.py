"""Make the paper's table: train 5 models on each of its 12 datasets, and plan 3 episodes with each.

    python azure/launch_table.py --dry_run                          # print the 120 command lines
    python azure/launch_table.py --engine ray --gpus 0.5            # run them; again, until nothing is left
    python plotting/table.py --results logs --exp_name 'plans/table/*'

What it runs is written in config/table.py.
"""

import sys
from pathlib import Path

from config import table
from scripts import plan, train
from trajectory import sweeps, utils
from trajectory.sweeps import Sweep, launch


class Parser(sweeps.Parser):
    n_models: int = 5  # models for each dataset
    n_episodes: int = 3  # episodes planned with each model


def main(args):
    for name in ('n_models', 'n_episodes'):
        utils.check_positive(name, getattr(args, name))
    stages = [(train, Sweep(table.train(args.n_models))), (plan, Sweep(table.plan(args.n_models, args.n_episodes)))]
    return launch(args, stages, Path(__file__).with_name('cloud.py'))


if __name__ == '__main__':
    sys.exit(utils.run(main, Parser, None))
