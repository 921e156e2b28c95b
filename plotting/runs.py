"""Find the runs in a folder of logs, whole or broken, and say what is wrong with those that failed.

A broken file is never an error here: it is a problem of the run that it belongs to.
"""

import itertools
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from plotting.curve import read_metrics
from plotting.read_results import ROOTS, is_number, load_result
from trajectory.utils.errors import InputError
from trajectory.utils.files import read_json

# one of these makes a folder a run
MARKS = (
    'args.json',
    'rollout.json',
    'metrics.jsonl',
    'model_config.json',
    'model_config.pkl',
    'source.json',
    'model.safetensors',
    'sweep.log',
)
WEIGHTS = re.compile(r'state_(\d+)\.pt')
PLAN_VIDEO = re.compile(r'(\d+)_plan\.(mp4|png)')  # mazes are drawn as pictures
ROLLOUT_VIDEOS = ('rollout.mp4', 'rollout.png')
USUAL = {'gpt', *ROOTS}  # how the names of runs begin, unless others are given
NOT_RUNS = ('tensorboard', 'wandb', '.git')
PARTIAL = re.compile(r'\.[0-9a-f]{8}\.|\.lock$|\.owner\.json$')  # what is being written
LOG_TAIL = 2**16  # bytes of a sweep.log that are read


@dataclass(frozen=True)
class Run:
    """One folder that a script wrote to."""

    dataset: str
    name: str  # beneath the dataset's folder: `gpt/azure`, `plans/defaults/freq1_H15_beam128/0`
    folder: Path
    settings: dict  # of args.json; empty where there is none
    has_changes: bool  # whether the code differed from its commit
    written: datetime  # when its newest file was
    problems: tuple[str, ...]

    @property
    def commit(self) -> str:
        """Empty where nothing tells."""
        return str(self.settings.get('commit') or '')

    @property
    def algorithm(self) -> str:
        """The method; runs of versions that had one do not name it."""
        return str(self.settings.get('algorithm') or 'trajectory_transformer')

    @property
    def versions(self) -> dict:
        """Of the packages that it ran with."""
        versions = self.settings.get('versions')
        return versions if isinstance(versions, dict) else {}


@dataclass(frozen=True)
class Training(Run):
    metrics: list[dict]
    source: dict  # of source.json
    epochs: int | None  # of the newest weights; None where nothing tells
    has_scores: bool = False  # of tasks over time, in continual.json

    @property
    def heldout_loss(self) -> float | None:
        """The newest one."""
        return next(
            (record['heldout_loss'] for record in reversed(self.metrics) if record.get('heldout_loss') is not None),
            None,
        )


@dataclass(frozen=True)
class Episode(Run):
    rollout: dict | None  # what `load_result` returns
    seconds_per_step: float | None
    rollout_video: Path | None
    plan_videos: tuple[tuple[int, Path], ...]  # the step that each plan was made at

    @property
    def is_filmed(self) -> bool:
        return self.rollout_video is not None or bool(self.plan_videos) or self.searches_page is not None

    @property
    def searches_page(self) -> Path | None:
        """The page of `plotting/plan.py`, where it was written."""
        page = self.folder / 'searches.html'
        return page if page.is_file() and not page.is_symlink() else None

    @property
    def exp_name(self) -> str:
        """The experiment that this is a repetition of, named as `read_results.locate` does."""
        parent, _, last = self.name.rpartition('/')
        return parent if parent and last.isdecimal() else self.name


def is_within(path: Path, logbase: Path) -> bool:
    """Whether a path is a regular file, and no link out of the logs."""
    return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(logbase.resolve()))


def find_runs(logbase: str | Path) -> tuple[list[Training], list[Episode]]:
    """Read every run beneath `logbase`, in the order of their names."""
    logbase = Path(logbase)
    trainings, episodes = [], []
    for folder, subfolders, files in os.walk(logbase):
        folder = Path(folder)
        subfolders[:] = [name for name in subfolders if name not in NOT_RUNS and not PARTIAL.match(name)]
        files = {name for name in files if not PARTIAL.match(name) and is_within(folder / name, logbase)}
        parts = folder.relative_to(logbase).parts
        is_plan = any(root in parts for root in ROOTS)
        left_empty = not USUAL.isdisjoint(parts[:-1]) and not files and not subfolders
        if left_empty or any(is_mark(name, is_plan) for name in files):
            kind, found = (read_episode, episodes) if is_plan else (read_training, trainings)
            found.append(kind(folder, logbase, files))
    if not trainings and not episodes:
        raise InputError(
            f'found no run in {logbase}{"" if logbase.is_dir() else ", which is not a folder"}.\n'
            "  Pass the folder that holds the datasets' folders, or train first:\n"
            '  python scripts/train.py --dataset hopper-mixed-ppo'
        )
    return (
        sorted(trainings, key=lambda run: (run.dataset, natural(run.name))),
        sorted(episodes, key=lambda run: (run.dataset, natural(run.name))),
    )


def is_mark(name: str, is_plan: bool) -> bool:
    return name in MARKS or bool(WEIGHTS.fullmatch(name)) or (is_plan and name in ROLLOUT_VIDEOS)


def natural(name: str) -> list:
    """Sort by this to have 2 before 10."""
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in re.split(r'(\d+)', name)]


# ---------------------------------- kinds ---------------------------------- #


def read_training(folder: Path, logbase: Path, files: set[str]) -> Training:
    known, problems = read_common(folder, logbase, files)
    metrics, source = [], {}
    try:
        if 'metrics.jsonl' in files:
            metrics = read_metrics(folder / 'metrics.jsonl')
    except InputError as error:
        problems.append(str(error))
    if 'source.json' in files:
        source = read_object(folder / 'source.json', problems)
        source = {
            name: value for name, value in source.items() if not isinstance(value, int | float) or is_number(value)
        }

    saved = [int(match[1]) for match in map(WEIGHTS.fullmatch, files) if match]
    asked = epochs_asked(folder, known['settings'])
    if not files:
        problems.append('The folder is empty.')
    elif not saved and 'model.safetensors' not in files and not problems:
        again = ' The same command goes on from resume.pt.' if 'resume.pt' in files else ''
        problems.append(f'No weights: training failed, was stopped, or is still before its first checkpoint.{again}')
    elif saved and asked is not None and max(saved) < asked:
        problems.append(f'Unfinished: the newest weights are of epoch {max(saved)} of {asked}.')
    elif saved and not files & {'model_config.json', 'model_config.pkl'}:
        problems.append('No model_config.json: the weights cannot be loaded.')
    return Training(
        **known,
        problems=tuple(problems),
        metrics=metrics,
        source=source,
        epochs=max(saved, default=None),
        has_scores='continual.json' in files,
    )


def read_episode(folder: Path, logbase: Path, files: set[str]) -> Episode:
    known, problems = read_common(folder, logbase, files)
    rollout, timing = None, {}
    if 'rollout.json' in files:
        try:
            rollout = load_result(folder)
            known['dataset'] = clean(str(rollout.get('dataset') or known['dataset']))
        except InputError as error:
            problems.append(str(error))
    elif not problems:
        problems.append(
            'No rollout.json: planning failed, was stopped, or is still under way.' if files else 'The folder is empty.'
        )
    if 'timing.json' in files:
        timing = read_object(folder / 'timing.json', problems)
    seconds = timing.get('seconds_per_step')
    plans = sorted((int(match[1]), folder / match[0]) for match in map(PLAN_VIDEO.fullmatch, files) if match)
    return Episode(
        **known,
        problems=tuple(problems),
        rollout=rollout,
        seconds_per_step=seconds if is_number(seconds) else None,
        rollout_video=next((folder / name for name in ROLLOUT_VIDEOS if name in files), None),
        plan_videos=tuple(plans),
    )


def epochs_asked(folder: Path, settings: dict) -> int | None:
    """How many epochs a run was to train for; None where nothing tells."""
    if is_number(settings.get('n_epochs')):
        return settings['n_epochs']
    try:
        windows = (
            read_json(folder / 'trainer_config.json')['settings']['warmup_tokens']
            // read_json(folder / 'model_config.json')['settings']['block_size']
        )  # it warms up for one epoch
        return int(1e6 / windows * settings['n_epochs_ref'])
    except (InputError, KeyError, TypeError, ZeroDivisionError, ValueError, OverflowError):
        return None


def read_common(folder: Path, logbase: Path, files: set[str]) -> tuple[dict, list[str]]:
    """What every run has, and what is wrong with it."""
    problems = []
    if 'sweep.log' in files and (words := last_words(folder / 'sweep.log')):
        problems.append(words)
    settings = read_object(folder / 'args.json', problems) if 'args.json' in files else {}
    dataset, name = locate(folder, logbase, settings.get('dataset'))
    diff = folder / 'diff.txt'
    written = max((folder / name).stat().st_mtime for name in files) if files else folder.stat().st_mtime
    return {
        'dataset': clean(dataset),
        'name': clean(name),
        'folder': folder,
        'settings': settings,
        'has_changes': 'diff.txt' in files and diff.stat().st_size > 0,
        'written': datetime.fromtimestamp(written),
    }, problems


# --------------------------------- reading --------------------------------- #


def locate(folder: Path, logbase: Path, named) -> tuple[str, str]:
    """The dataset of a run, and its name.    named : the dataset that its settings name, if they do"""
    parts = folder.relative_to(logbase).parts
    if isinstance(named, str) and parts[: named.count('/') + 1] == tuple(named.split('/')):
        depth = named.count('/') + 1
    else:
        depth = next((n for n, part in enumerate(parts) if part in USUAL), min(1, len(parts)))
    dataset = '/'.join(parts[:depth]) or logbase.resolve().name
    return dataset, '/'.join(parts[depth:]) or dataset


def read_object(path: Path, problems: list[str]) -> dict:
    """The JSON object in a file; where it holds none, an empty one, and a problem more."""
    try:
        content = read_json(path)
    except InputError as error:
        problems.append(str(error))
        return {}
    if isinstance(content, dict):
        return content
    problems.append(f'{path} holds a {type(content).__name__}, expected an object.')
    return {}


def last_words(log: Path) -> str:
    """The error that ended the newest attempt of a run, as a script or Python told it; empty where none did."""
    with open(log, 'rb') as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        lines = file.read().decode(errors='replace').replace('\r', '\n').splitlines()
    begin = max((n for n, line in enumerate(lines) if line.startswith('$ python ')), default=-1)
    lines = lines[begin + 1 :]
    told = [n for n, line in enumerate(lines) if re.match(r'\w+\.py: error: |Traceback \(most recent', line)]
    if not told:
        return ''
    if lines[told[-1]].startswith('Traceback'):
        return next((line for line in reversed(lines) if line.strip()), '')
    message = [lines[told[-1]].partition(': error: ')[2]]
    message += itertools.takewhile(lambda line: line.startswith('  '), lines[told[-1] + 1 :])
    return '\n'.join(message)


def clean(name: str) -> str:
    """A name that can be shown: on one line, and without what is no character."""
    return ' '.join(name.encode('utf-8', 'replace').decode().split())
