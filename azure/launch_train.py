"""Train a model for every combination of some settings.

    python azure/launch_train.py --dry_run                          # print what would be run
    python azure/launch_train.py                                    # what is written below, on this machine
    python azure/launch_train.py --engine ray --dataset hopper-medium-v2 --seed 1 2 3 --exp_name 'gpt/seed_{seed}'

Finished runs are skipped, and runs that were cut off go on: start it again until nothing is left.
"""

import sys
from pathlib import Path

from scripts import train
from trajectory import utils
from trajectory.sweeps import Parser, Sweep, launch

params_to_sweep = {
    'dataset': [
        f'{robot}-{buffer}-v2' for robot in ('halfcheetah', 'hopper', 'walker2d', 'ant') for buffer in ('expert',)
    ],
}

default_params = {
    'exp_name': 'gpt/azure',
}


def main(args):
    return launch(
        args,
        [(train, Sweep(params_to_sweep, default_params))],
        Path(__file__).with_name('cloud.py'),
        cloud={'gpu_model': 'nvidia-tesla-v100'},
    )


if __name__ == '__main__':
    sys.exit(utils.run(main, Parser, None))
