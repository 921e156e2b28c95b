"""Sum up a comparison of ways of acting over several datasets: means, paired differences, and interquartile means.

    python plotting/summary.py [LOGS] [--exp_name 'plans/results/*' 'evaluations/results/*'] [--against planned]

An arm is an experiment by the last part of its name, `planned` of plans/results/planned. For each dataset it prints the
mean return of each arm ± standard error, beside the data's mean, and how much more `--against` returned than each other
arm, in pairs of equal seeds. Over all datasets it prints the interquartile mean of the normalised scores (Agarwal et
al. 2021) with 95 % confidence intervals, by a bootstrap that draws episodes within each dataset (SciPy's), and that of
the differences. Needs `pip install -e .[results]`.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

import numpy as np

from plotting.read_results import Experiment, load_results, mean_and_error, warnings_about
from trajectory.datasets.describe import read_source
from trajectory.utils.errors import InputError

PATTERNS = 'plans/results/*', 'evaluations/results/*'
N_RESAMPLES = 2000

Arms = dict[str, dict[str, Experiment]]  # by arm, by dataset


def read_arms(logs: Path, patterns: list[str]) -> Arms:
    """The experiments of each arm; InputError where an arm has two on one dataset."""
    arms: Arms = {}
    found, error = [], None
    for pattern in patterns:
        try:
            found += load_results(logs, exp_name=pattern)
        except InputError as missing:
            error = missing
    if not found and error:
        raise error
    for experiment in found:
        of_arm = arms.setdefault(experiment.exp_name.rpartition('/')[2], {})
        if other := of_arm.get(experiment.dataset):
            raise InputError(
                f'{experiment.dataset} has results of different models or settings for one arm, which must not be '
                f'averaged:\n  {other.exp_name} ({other.identity}), {experiment.exp_name} ({experiment.identity}).\n'
                '  Delete one, or name a pattern that holds one: --exp_name.'
            )
        of_arm[experiment.dataset] = experiment
    return arms


def mean_of_data(logs: Path, dataset: str) -> float | None:
    """The data's mean return, as a model that learned from it knows it; None where no model is there."""
    for path in sorted((logs / dataset).glob('**/source.json')):
        return float(read_source(path)['mean_return'])
    return None


def paired_difference(one: Experiment, other: Experiment) -> tuple[float | None, float | None, int]:
    """How much more one returned, in pairs of equal seeds: mean, standard error, and number of pairs."""
    first, second = ({rollout['seed']: rollout['return'] for rollout in arm.rollouts} for arm in (one, other))
    seeds = [seed for seed in first if seed is not None and seed in second]
    return *mean_and_error([first[seed] - second[seed] for seed in seeds]), len(seeds)


def interquartile_mean(*tasks: np.ndarray) -> float:
    """Mean of the middle half of all scores.    tasks : the scores of each"""
    from scipy.stats import trim_mean

    return float(trim_mean(np.concatenate(tasks), 0.25))


def interval_of(tasks: list[np.ndarray], others: list[np.ndarray] | None = None, seed: int = 0) -> tuple:
    """The interquartile mean and its 95 % interval, or that of how much it is above others'.

    tasks, others : scores of each dataset    returns : the number, and the ends of its interval
    """
    from scipy.stats import bootstrap

    n = len(tasks)

    def statistic(*samples):
        above = interquartile_mean(*samples[n:]) if others else 0.0
        return interquartile_mean(*samples[:n]) - above

    samples = [*tasks, *(others or [])]
    if any(len(sample) < 2 for sample in samples):
        return statistic(*samples), None, None
    found = bootstrap(samples, statistic, n_resamples=N_RESAMPLES, vectorized=False, method='percentile',
                      random_state=np.random.default_rng(seed))  # fmt: skip
    return statistic(*samples), float(found.confidence_interval.low), float(found.confidence_interval.high)


def summarize(logs: Path, patterns: list[str], against: str | None = None) -> str:
    """All that is printed."""
    arms = read_arms(logs, patterns)
    first = against or ('planned' if 'planned' in arms else next(iter(arms)))
    if first not in arms:
        raise InputError(f'there is no arm {first!r}.\n  There are {", ".join(arms)}.')
    datasets = list(dict.fromkeys(name for of_arm in arms.values() for name in of_arm))
    lines = []
    for dataset in datasets:
        mean = mean_of_data(logs, dataset)
        lines.append(f'{dataset}' + ('' if mean is None else f", the data's mean return {mean:.0f}"))
        for arm, of_arm in arms.items():
            if dataset in of_arm:
                lines.append('  ' + describe_arm(arm, of_arm[dataset], arms[first].get(dataset), first, mean))
                lines += [f'    {warning}' for warning in warnings_about(of_arm[dataset])]
    return '\n'.join([*lines, *describe_over_all(arms, first, datasets)])


def describe_arm(arm: str, experiment: Experiment, rival: Experiment | None, first: str, mean: float | None) -> str:
    """A line of one arm on one dataset."""
    average, error = mean_and_error(experiment.returns)
    share = '' if not mean else f'  {average / mean:5.2f} x data'
    line = f'{arm:<20}{_with_error(average, error):>16}  n = {len(experiment.rollouts):<4}{share}'
    if rival is None or rival is experiment:
        return line
    difference, error, n = paired_difference(rival, experiment)
    return f'{line}   {first} is above by {_with_error(difference, error)} in {n} pairs' if n else line


def describe_over_all(arms: Arms, first: str, datasets: list[str]) -> list[str]:
    """Lines of the interquartile means over the datasets that every arm of scores has."""
    scored = {
        arm: of_arm
        for arm, of_arm in arms.items()
        if set(of_arm) == set(datasets) and all(experiment.scores for experiment in of_arm.values())
    }
    left_out = [arm for arm in arms if arm not in scored]
    lines = [f'interquartile mean of 100 x score over {len(datasets)} datasets [95 % interval]']
    for arm, of_arm in scored.items():
        tasks = [np.array(of_arm[dataset].scores) for dataset in datasets]
        lines.append(f'  {arm:<20}{_with_interval(interval_of(tasks)):>24}')
        if first in scored and arm != first:
            rivals = [np.array(scored[first][dataset].scores) for dataset in datasets]
            lines[-1] += f'   {first} is above by {_with_interval(interval_of(rivals, tasks))}'
    if left_out:
        lines.append(f'  left out, without a score on each dataset: {", ".join(left_out)}')
    return lines


def _with_error(mean, error):
    return '-' if mean is None else f'{mean:.0f}' + ('' if error is None else f' ± {error:.0f}')


def _with_interval(found):
    value, low, high = found
    return f'{value:.1f}' + ('' if low is None else f' [{low:.1f}, {high:.1f}]')


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('logs', nargs='?', default='logs', type=Path, help="folder that holds the datasets' folders")
    parser.add_argument('--exp_name', nargs='+', default=list(PATTERNS), metavar='GLOB', help='experiments to compare')
    parser.add_argument('--against', help='the arm that is compared with each other one; planned, if there is one')
    args = parser.parse_args(argv)
    try:
        print(summarize(args.logs, args.exp_name, args.against))
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    except ImportError as error:
        parser.exit(2, f'{parser.prog}: error: {error}.\n  Install it: pip install -e .[results]\n')


if __name__ == '__main__':
    main()
