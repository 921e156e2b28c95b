"""Make the paper's table: train 5 models on each of its 12 data sets, and plan 3 episodes with each.

    python azure/launch_table.py --dry_run                          # print the 120 command lines
    python azure/launch_table.py --engine ray --gpus 0.5            # run them; again, until nothing is left
    python plotting/table.py --results logs --exp_name 'plans/table/*'

What it runs is written in config/table.py.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))    # before this folder, which has a config of its own

from config import table
from scripts import plan, train
from trajectory import utils
from trajectory.sweeps import Parser, Sweep, launch


def main(args):
    stages = [(train, Sweep(table.train)), (plan, Sweep(table.plan))]
    return launch(args, stages, Path(__file__).with_name('config.py'))


if __name__ == '__main__':
    sys.exit(utils.run(main, Parser, None))
