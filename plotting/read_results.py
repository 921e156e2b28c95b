"""Read the results of plans, and print mean ± standard error of each experiment.

    python plotting/read_results.py [LOGS] [--dataset hopper-medium-v2] [--exp_name 'plans/defaults/*']

An experiment is the folder `<logbase>/<dataset>/plans/…`, or `…/evaluations/…`, that holds numbered folders, one
`rollout.json` in each. Rollouts of different models, settings, environments, physics or data sources are never
averaged together. The standard error is the sample's deviation (n − 1) over √n.
"""

import json
import math
import re
import statistics
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from plotting.scores import BUFFERS, ENVIRONMENTS
from trajectory.utils.errors import InputError, shorten
from trajectory.utils.files import check_regular

UNKNOWN = 'unknown'
MAX_BYTES = 2**20  # of a rollout.json
MAX_NUMBER = 1e100  # what is larger is no return, and no mean can be taken of it
REQUIRED = ('score', 'return', 'step', 'term', 'gpt_epoch')
ROOTS = ('plans', 'evaluations')  # folders of results
PROVENANCE = ('environment', 'physics', 'data_source')  # absent from the reference implementation's files
D4RL_SOURCE = re.compile(r'd4rl($|[\s:,(])|https?://rail\.eecs\.berkeley\.edu/', re.IGNORECASE)
EPISODE_STEPS = 1000  # of the paper's datasets, unless the robot falls


@dataclass(frozen=True)
class Experiment:
    """Rollouts that may be averaged: one folder, environment, physics, source of data, and one model and settings."""

    dataset: str
    exp_name: str  # the folder beneath the dataset's, `plans/defaults/freq1_H15_beam128`
    environment: str
    physics: str
    data_source: str
    rollouts: tuple  # of what `load_result` returns
    algorithm: str = 'trajectory_transformer'
    identity: str = UNKNOWN  # of the model and the settings

    @property
    def returns(self) -> list[float]:
        return [rollout['return'] for rollout in self.rollouts]

    @property
    def scores(self) -> list[float]:
        """100 × the normalised returns; empty where a rollout has none."""
        scores = [rollout['score'] for rollout in self.rollouts]
        return [] if None in scores else [100 * score for score in scores]

    @property
    def provenance(self) -> str:
        return f'environment {self.environment}, physics {self.physics}, data source {self.data_source}'


# -------------------------------- reading --------------------------------- #


def load_result(path: str | Path) -> dict:
    """Read one `rollout.json`, given itself or its folder; what the file does not tell is 'unknown' or None.

    `score` is a fraction (1.0 is D4RL's expert), or None for a dataset without reference returns.
    """
    path = Path(path)
    path = path / 'rollout.json' if path.is_dir() else path
    try:
        check_regular(path, MAX_BYTES)
        result = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise InputError(
            f'cannot read {path}: {error.strerror}.\n  Pass a rollout.json, as scripts/plan.py writes it.'
        ) from error
    except (ValueError, RecursionError) as error:  # not JSON, or not even text
        raise InputError(f'{path} is not valid JSON: {error}.\n  Delete it, or plan again.') from error
    if not isinstance(result, dict):
        raise InputError(
            f'{path} holds a {type(result).__name__}, expected an object with the keys '
            f'{", ".join(REQUIRED)}.\n  Delete it, or plan again.'
        )
    missing = [key for key in REQUIRED if key not in result]
    if missing:
        raise InputError(
            f'{path} lacks {", ".join(missing)}; it has {", ".join(result) or "nothing"}.\n  Delete it, or plan again.'
        )
    for key in ('score', 'return'):
        if not is_number(result[key]) and not (key == 'score' and result[key] is None):
            raise InputError(
                f'{path}: {key} is {result[key]!r}, expected a finite number.\n  Delete it, or plan again.'
            )
    if not isinstance(result['step'], int) or not 0 <= result['step'] <= MAX_NUMBER:
        raise InputError(
            f'{path}: step is {shorten(result["step"])!r}, expected a whole number.\n  Delete it, or plan again.'
        )
    provenance = {key: ' '.join(str(result.get(key) or UNKNOWN).split()) for key in PROVENANCE}
    made_by = {
        'algorithm': str(result.get('algorithm') or 'trajectory_transformer'),
        'identity': str(result.get('identity') or UNKNOWN),
    }
    return {**result, **provenance, **made_by, 'seed': result.get('seed')}


def load_results(logbase='logs', dataset: str | None = None, exp_name: str | None = None) -> list[Experiment]:
    """Read every `<logbase>/<dataset>/{plans,evaluations}/**/rollout.json`, and group them into experiments.

    exp_name : pattern for the names of experiments, such as `plans/defaults/*`
    """
    logbase = Path(logbase)
    folder = logbase / dataset if dataset else logbase
    found = []
    seen = set()
    for path in sorted(path for root in ROOTS for path in folder.glob(f'**/{root}/**/rollout.json')):
        place, experiment = locate(path, logbase)
        seen.add(experiment)
        if exp_name is None or fnmatchcase(experiment, exp_name):
            found.append((place, experiment, load_result(path)))
    if not seen:
        raise InputError(
            f'found no plans/**/rollout.json in {folder}'
            f'{"" if folder.is_dir() else ", which is not a folder"}.\n'
            "  Pass the folder that holds the datasets' folders, or plan first:\n"
            f'  python scripts/plan.py --dataset {dataset or "hopper-medium-v2"}'
        )
    if not found:
        raise InputError(
            f'no experiment in {folder} matches {exp_name!r}.\n'
            f'  There are: {", ".join(sorted(seen))}\n'
            "  Pass --exp_name 'plans/*', say."
        )
    return group_rollouts(found)


def group_rollouts(found: list[tuple[str, str, dict]]) -> list[Experiment]:
    """Put together what may be averaged.    found : dataset and experiment as `locate` tells them, and the rollout"""
    groups = defaultdict(list)
    for place, experiment, rollout in found:
        provenance = (rollout.get(key, UNKNOWN) for key in (*PROVENANCE, 'algorithm', 'identity'))
        groups[(str(rollout.get('dataset') or place), experiment, *provenance)].append(rollout)
    return [Experiment(*key[:5], tuple(groups[key]), *key[5:]) for key in sorted(groups)]


def group_by_number(experiments: list[Experiment], pattern: re.Pattern, kind: Callable) -> dict[str, list]:
    """Experiments whose names end in a number, by what stands before it, as pairs (number, experiment), rising.

    pattern : with the two as its groups    kind : of the number
    """
    groups = defaultdict(list)
    for experiment in experiments:
        if found := pattern.match(experiment.exp_name):
            groups[found[1]].append((kind(found[2]), experiment))
    return {name: sorted(pairs, key=lambda pair: pair[0]) for name, pairs in groups.items()}


def locate(path: Path, logbase: Path) -> tuple[str, str]:
    """The dataset and the experiment that a rollout's place tells."""
    parts = path.parent.relative_to(logbase).parts
    depth = next(n for n, part in enumerate(parts) if part in ROOTS)
    dataset = '/'.join(parts[:depth]) or logbase.resolve().name
    if parts[-1].isdecimal():
        parts = parts[:-1]
    return dataset, '/'.join(parts[depth:])


def is_number(value) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and abs(value) <= MAX_NUMBER


# ------------------------------- statistics ------------------------------- #


def mean_and_error(numbers: list[float]) -> tuple[float | None, float | None]:
    """Mean, and its standard error: the sample's deviation (n − 1) over √n. One number has no error."""
    mean = statistics.fmean(numbers) if numbers else None
    error = statistics.stdev(numbers) / math.sqrt(len(numbers)) if len(numbers) > 1 else None
    return mean, error


def choose_comparable(experiments: list[Experiment]) -> tuple[dict, list]:
    """Sort out what may stand beside the published scores: D4RL's data, planned in D4RL's physics.

    returns : {(buffer, environment, algorithm): experiment}, [(experiment left out, why)]
    """
    chosen, left_out = {}, []
    for experiment in experiments:
        reason = why_not_comparable(experiment)
        if reason:
            left_out.append((experiment, reason))
            continue
        environment, buffer = experiment.dataset.removesuffix('-v2').split('-', 1)
        rival = chosen.setdefault((buffer, environment, experiment.algorithm), experiment)
        if rival is not experiment:
            raise InputError(
                f'{experiment.dataset} has several experiments, which must not be averaged: '
                f'{rival.exp_name} ({rival.provenance}), '
                f'{experiment.exp_name} ({experiment.provenance}).\n'
                '  Choose one by its name with --exp_name, or move the others out of the logs.'
            )
    return chosen, left_out


def why_not_comparable(experiment: Experiment) -> str | None:
    """What keeps an experiment from standing beside the published scores, if anything does."""
    published = [f'{environment}-{buffer}-v2' for buffer in BUFFERS for environment in ENVIRONMENTS]
    if experiment.dataset not in published:
        return 'not a dataset of the paper'
    if experiment.physics != 'd4rl':
        return f'physics {experiment.physics}'
    if not D4RL_SOURCE.match(experiment.data_source):
        return f'data source {experiment.data_source}'
    if not experiment.scores:
        return 'no score'
    if cut := [
        rollout['step'] for rollout in experiment.rollouts if rollout['step'] < EPISODE_STEPS and not rollout['term']
    ]:
        return f'episodes cut at {", ".join(map(str, sorted(set(cut))))} steps'
    return None


# -------------------------------- printing -------------------------------- #


def format_experiments(experiments: list[Experiment]) -> str:
    """Lay out one aligned line per experiment, and below them what to beware of."""
    header = ('dataset', 'experiment', 'return', '100 x score', 'n', 'environment', 'physics', 'data source')
    rows = [header]
    for experiment in experiments:
        rows.append(
            (
                experiment.dataset,
                experiment.exp_name,
                format_mean(experiment.returns),
                format_mean(experiment.scores),
                str(len(experiment.rollouts)),
                experiment.environment,
                experiment.physics,
                experiment.data_source,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if title in ('return', '100 x score', 'n') else cell.ljust(width)
            for cell, width, title in zip(row, widths, header, strict=True)
        ]
        lines.append('  '.join(cells).rstrip())
    for experiment in experiments:
        models = {rollout['model'] for rollout in experiment.rollouts if rollout.get('model')}
        if len(models) > 1:
            lines.append(f'{experiment.dataset} {experiment.exp_name}: {len(models)} models of one recipe')
        lines += warnings_about(experiment)
    mixed = Counter((experiment.dataset, experiment.exp_name) for experiment in experiments)
    lines += [
        f'{dataset} {exp_name}: {n} lines, because its rollouts are of different models, settings or data'
        for (dataset, exp_name), n in mixed.items()
        if n > 1
    ]
    return '\n'.join(lines)


def format_mean(numbers: list[float]) -> str:
    """`47.0 ± 0.3`, with `-` for what there is not."""
    mean, error = ('-' if number is None else f'{number:.1f}' for number in mean_and_error(numbers))
    return f'{mean} ± {error}' if numbers else '-'


def warnings_about(experiment: Experiment) -> list[str]:
    """Name the ways in which an experiment's rollouts are not repetitions of each other."""
    name, n = f'{experiment.dataset} {experiment.exp_name}', len(experiment.rollouts)
    seeds = [str(rollout['seed']) for rollout in experiment.rollouts if rollout['seed'] is not None]
    epochs = sorted({str(rollout['gpt_epoch']) for rollout in experiment.rollouts})
    warnings = []
    if len(set(seeds)) < len(seeds):
        warnings.append(
            f'{name}: {n} rollouts, but {len(set(seeds))} seeds; equal seeds repeat one episode, '
            'and the standard error is too small'
        )
    if len(epochs) > 1:
        warnings.append(f'{name}: averages models of different epochs: {", ".join(epochs)}')
    return warnings


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('logs', nargs='?', metavar='LOGS', help='the same as --logbase')
    parser.add_argument('--logbase', default='logs', help="folder that holds the datasets' folders")
    parser.add_argument('--dataset', help='only this dataset')
    parser.add_argument('--exp_name', metavar='GLOB', help="only these experiments, e.g. 'plans/defaults/*'")
    args = parser.parse_args(argv)
    try:
        print(format_experiments(load_results(args.logs or args.logbase, args.dataset, args.exp_name)))
        print('± is the standard error of the mean: the deviation of the sample (n - 1) over the root of n')
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')


if __name__ == '__main__':
    main()
