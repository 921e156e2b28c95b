"""Compare ways of acting: train every model of a dataset, and let each act for 30 episodes from seed 5000.

    python azure/launch_results.py --dry_run                        # print the command lines
    python azure/launch_results.py --dataset hopper-medium-v2 walker2d-medium-v2 --engine ray
    python azure/launch_results.py --files mine.hdf5 other.hdf5     # datasets named after their files
    python plotting/summary.py logs                                 # the table, and what is above what

What it runs is written in config/results.py. Finished runs are skipped: start it again until nothing is left.
"""

import sys
from pathlib import Path

from config import results
from scripts import evaluate, plan, train
from trajectory import sweeps, utils
from trajectory.sweeps import Sweep, launch
from trajectory.utils.errors import InputError


class Parser(sweeps.Parser):
    n_episodes: int = 30  # of each arm on each dataset
    arms: list[str] = []  # some of them, instead of all
    files: list[str] = []  # HDF5 files to learn from, whose names are the datasets'; instead of --dataset


def main(args):
    utils.check_positive('n_episodes', args.n_episodes)
    everything = [*results.EVALUATE, *results.PLAN]
    arms = args.arms or everything
    if unknown := set(arms) - set(everything):
        raise InputError(f'there is no arm {min(unknown)!r}.\n  There are {", ".join(everything)}.')
    swept, of_files = {'dataset': results.DATASETS}, {}
    if args.files:
        if 'dataset' in args.settings:
            raise InputError('--files names the datasets already.\n  Leave out --dataset, or --files.')
        of_files = {('dataset', 'dataset_path'): [(Path(file).stem, file) for file in args.files]}
        swept = {'dataset': [name for name, _ in of_files['dataset', 'dataset_path']]}
    evaluated = [arm for arm in arms if arm in results.EVALUATE]
    planned = [arm for arm in arms if arm in results.PLAN]
    models = [results.EVALUATE[arm][1] for arm in evaluated]
    models += ['gpt/results'] * bool(planned) + [results.PLAN[arm].get('q_loadpath') for arm in planned]
    stages = [(train, Sweep(of_files or swept, results.train(name))) for name in results.TRAIN if name in models]
    stages += [(evaluate, Sweep(swept, results.evaluate(arm, args.n_episodes))) for arm in evaluated]
    stages += [(plan, Sweep(swept, results.plan(arm, args.n_episodes))) for arm in planned]
    return launch(args, stages, Path(__file__).with_name('cloud.py'))


if __name__ == '__main__':
    sys.exit(utils.run(main, Parser, None))
