"""Look at a file of recorded episodes as a whole: what it holds, and everything that is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trajectory.datasets.hdf5 import Violation, survey
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.datasets.sequence import check_widths, find_path_lengths
from trajectory.datasets.sources import load_environment
from trajectory.environments.catalogue import d4rl_catalogue
from trajectory.utils.errors import InputError
from trajectory.utils.layout import TransitionLayout

LONGEST = 1000  # steps of an episode that scripts/train.py admits without being told
NO_ENVIRONMENT = 'Correct metadata/env and metadata/physics, or name the dataset: --dataset hopper-medium-v2.'
TOLERANCE = 1e-3  # by which a recorded action may pass its bounds


@dataclass(frozen=True)
class Inspection:
    """What a file holds.

    columns    : of those that can be read, the values
    env        : the environment it was recorded in, where one can be made
    lengths, returns, scores : [ episodes ]; None where the columns do not tell
    violations : what keeps the file from being learned from
    remarks    : what is allowed, and good to know
    """

    columns: dict[str, np.ndarray]
    env: object | None
    lengths: np.ndarray | None
    returns: np.ndarray | None
    scores: np.ndarray | None
    violations: list[Violation]
    remarks: list[Violation]

    def ranges(self) -> list[tuple]:
        """Of each column of numbers: name, least, mean, greatest, deviation, of what is finite.

        `observations[3]`, `rewards`, …; a deviation of 0 is of a column that is constant.
        """
        rows = []
        for name, values in self.columns.items():
            for place, column in enumerate(values.T if values.ndim == 2 else [values]):
                column = column[np.isfinite(column)].astype(np.float64)
                label = f'{name}[{place}]' if values.ndim == 2 else name
                if len(column):
                    rows.append((label, column.min(), column.mean(), column.max(), column.std()))
        return rows


def _describe_limit(fell, clock, lengths, limit):
    """Falls that are all at the environment's step limit are time-outs with another name."""
    ends = np.cumsum(lengths) - 1
    at_limit = lengths == limit
    if limit and at_limit.sum() > 1 and fell[ends][at_limit].all() and not clock.any():
        yield Violation(
            f'{at_limit.sum():,} episodes end as falls exactly at the step limit of {limit:,}, and no row '
            'is a time-out',
            'terminals',
            ends[at_limit],
            'Mark them in timeouts instead: a penalty and a value of zero would be learned there.',
        )


def inspect_file(path: str | Path, name: str | None = None) -> Inspection:
    """Read a file, and find everything that is wrong with it.

    name : of the dataset that the file is taken for; by default the one of D4RL's whose file is called so
    """
    path = Path(path)
    columns, violations = survey(path)
    remarks, env = [], None
    try:
        env = load_environment(name or _name_of(path), path)
        if {'observations', 'actions'} <= columns.keys():
            preprocess_fn = get_preprocess_fn(env.id)
            widths = preprocess_fn(columns['observations'][:1]).shape[1], columns['actions'].shape[1]
            check_widths(env, preprocess_fn, TransitionLayout(*widths))
            remarks += _find_wide_actions(columns['actions'], env.action_space)
    except InputError as error:
        text, _, remedy = str(error).partition('\n')
        violations.append(Violation(text.removeprefix(f'{path} ').rstrip('.'), remedy=remedy.strip() or NO_ENVIRONMENT))

    lengths = returns = scores = None
    n_steps = {len(column) for column in columns.values()}
    if {'rewards', 'terminals', 'timeouts'} <= columns.keys() and len(n_steps) == 1 and n_steps != {0}:
        fell, clock = (columns[name] == 1 for name in ('terminals', 'timeouts'))
        lengths = find_path_lengths(fell | clock)
        violations += _find_untrainable(fell | clock)
        returns = np.add.reduceat(columns['rewards'].astype(np.float64), np.cumsum(lengths) - lengths)
        if env is not None and env.get_normalized_score(0.0) is not None:
            scores = env.get_normalized_score(returns)
        remarks += _describe_ends(fell, clock, lengths)
        remarks += _describe_limit(fell, clock, lengths, getattr(env, 'max_episode_steps', None))
    return Inspection(columns, env, lengths, returns, scores, violations, remarks)


def _name_of(path):
    named = [name for name, record in d4rl_catalogue().items() if record.file == path.name]
    return named[0] if named else path.stem


def _find_untrainable(ends):
    """What training refuses: its last row has no successor, and no window starts at an episode's last step."""
    if find_path_lengths(ends[:-1]).max(initial=0) < 2:
        yield Violation(
            'no episode has two steps with a step after them, and no window starts at a last one',
            remedy='Record longer episodes.',
        )


def _find_wide_actions(actions, space):
    wide = ((actions < space.low - TOLERANCE) | (actions > space.high + TOLERANCE)).any(axis=1)
    wide &= np.isfinite(actions).all(axis=1)
    if wide.any():
        yield Violation(
            f"'actions' pass the environment's bounds in {wide.sum():,} rows, the first {wide.argmax():,}",
            'actions',
            np.flatnonzero(wide),
            'It cuts them off; a model learns them as they are recorded.',
        )


def _describe_ends(fell, clock, lengths):
    """What is peculiar about where episodes end.    fell, clock : [ steps ]"""
    starts = np.cumsum(lengths) - lengths
    both = np.flatnonzero(fell & clock)
    if len(both):
        yield Violation(
            f'the robot fell as the clock ran out in {len(both):,} rows, the first {both[0]:,}',
            None,
            both,
            'They count as falls.',
        )
    if not (fell[-1] or clock[-1]):
        yield Violation(
            'the last episode is cut off by the end of the file',
            None,
            starts[-1:],
            'It counts as one whose time ran out.',
        )
    for those, words, remedy in (
        (lengths > LONGEST, f'have more than {LONGEST:,} steps', 'Train with --max_path_length None.'),
        (lengths == 1, 'have one step', 'No window starts there: nothing is learned from them.'),
    ):
        if those.any():
            yield Violation(
                f'{those.sum():,} episodes {words}, the first from row {starts[those][0]:,}',
                None,
                starts[those],
                remedy,
            )
