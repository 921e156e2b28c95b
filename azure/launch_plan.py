"""Plan episodes for every combination of some settings, with models that are trained.

    python azure/launch_plan.py --dry_run                           # print what would be run
    python azure/launch_plan.py                                     # what is written below, on this machine
    python azure/launch_plan.py --engine slurm --dataset hopper-medium-v2 --horizon 5 15 --gpt_loadpath gpt/pretrained

Finished episodes are skipped: start it again until nothing is left.
"""

import sys
from pathlib import Path

from scripts import plan
from trajectory import utils
from trajectory.sweeps import Parser, Sweep, launch

suffix_start = 0  # folder of the first repetition of each variant
n_suffices = 3  # repetitions, planned together

params_to_sweep = {
    'dataset': [
        f'{robot}-{buffer}-v2'
        for robot in ('ant',)
        for buffer in ('medium-expert', 'medium', 'medium-replay', 'random')
    ],
    'horizon': [15],
}

default_params = {
    'prefix': 'plans/azure/',
    'suffix': suffix_start,
    'n_episodes': n_suffices,
    'seed': 42 + suffix_start,
    'verbose': False,
}


def main(args):
    return launch(
        args,
        [(plan, Sweep(params_to_sweep, default_params))],
        Path(__file__).with_name('cloud.py'),
        cloud={'region': 'westus2'},
    )


if __name__ == '__main__':
    sys.exit(utils.run(main, Parser, None))
