"""Say what a sweep runs: every combination of some settings, as command lines that the scripts would accept.

A variant is known by its run's folder: two variants never share one, and what lies in it says whether it is finished.
"""

import itertools
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from trajectory.algorithms.base import find_algorithm
from trajectory.datasets.sources import find_source
from trajectory.storage.config import load_args
from trajectory.storage.run_folder import FINISHED, hash_file
from trajectory.utils.errors import InputError
from trajectory.utils.files import read_json

ROOT = Path(__file__).resolve().parents[2]  # of the code, which holds the scripts


@dataclass(frozen=True)
class Sweep:
    """What is tried.

    params_to_sweep : {setting: its values}, of which every combination is tried; settings that change together
                      stand in one key, {('seed', 'exp_name'): [(1, 'gpt/1'), (2, 'gpt/2')]}
    default_params  : {setting: its value}, the same in all variants; all others are as `config` and the dataset say

    A name in braces stands for that setting's value in the variant: 'exp_name': 'gpt/seed_{seed}'.
    """

    params_to_sweep: Mapping = field(default_factory=dict)
    default_params: Mapping = field(default_factory=dict)

    def combinations(self) -> list[dict]:
        """The settings of each variant, the last key changing fastest."""
        choices = [[_pair(names, value) for value in values] for names, values in self.params_to_sweep.items()]
        swept = [dict(itertools.chain(*choice)) for choice in itertools.product(*choices)]
        return [
            _fill_in(
                {**settings, **{name: value for name, value in self.default_params.items() if name not in settings}}
            )
            for settings in swept
        ]

    def change(self, changes: Mapping[str, list]) -> 'Sweep':
        """The same sweep with other values for some settings; several values are swept, a single one is fixed."""
        for names in self.params_to_sweep:
            if tied := isinstance(names, tuple) and sorted(set(names) & set(changes)):
                raise InputError(
                    f'{tied[0]} changes together with {", ".join(set(names) - set(tied))} in this sweep.\n'
                    f'  Leave out --{tied[0]}, or edit the sweep.'
                )
        swept = {**self.params_to_sweep, **{name: values for name, values in changes.items() if len(values) > 1}}
        fixed = {name: values[0] for name, values in changes.items() if len(values) == 1}
        return Sweep(
            {name: values for name, values in swept.items() if name not in fixed}, {**self.default_params, **fixed}
        )


@dataclass(frozen=True)
class Variant:
    """One run of a sweep.

    script  : that is run, such as scripts/train.py
    flags   : of its command line
    folder  : of the run
    results : folders that its results go to; several where one command plans several episodes
    needs   : folders of the trained models that it loads, that of a Q after the one that acts; none where it trains
    settings : every setting that a finished run must agree in
    dataset_path : the file that it learns from, if any
    """

    script: str
    flags: tuple[str, ...]
    folder: Path
    results: tuple[Path, ...]
    needs: tuple[Path, ...]
    settings: dict = field(repr=False, hash=False)
    dataset_path: Path | None = None

    @property
    def command_line(self) -> str:
        """What one would type."""
        return shlex.join(['python', self.script, *self.flags])

    @property
    def log(self) -> Path:
        """The file that its words go to."""
        return self.folder / 'sweep.log'

    def is_finished(self) -> bool:
        """Whether the folder holds what a finished run leaves, of these settings, this data, and this model."""
        try:
            before = vars(load_args(self.folder))
            if any(before.get(name) != value for name, value in self.settings.items()):
                return False
            if self.needs:
                return self._was_evaluated()
            learned_from = read_json(self.folder / 'source.json').get('dataset_sha256')
            finished = read_json(self.folder / FINISHED)
        except (InputError, AttributeError):  # not begun, or cut off
            return False
        if (
            learned_from
            and self.dataset_path is not None
            and self.dataset_path.is_file()
            and hash_file(self.dataset_path) != learned_from
        ):
            return False
        return (self.folder / f'state_{finished.get("epoch")}.pt').exists()

    def _was_evaluated(self) -> bool:
        """Whether each folder holds an episode of the model as it is now, all of the same settings."""
        rollouts = [read_json(folder / 'rollout.json') for folder in self.results]
        if len({(rollout.get('model'), rollout.get('identity')) for rollout in rollouts}) != 1:
            return False
        if not all(folder.is_dir() for folder in self.needs):
            return True
        epochs = self.settings.get('gpt_epoch', self.settings.get('epoch')), self.settings.get('q_epoch')
        models = [
            find_algorithm(name).load(folder, epoch)
            for name, folder, epoch in zip((self.settings['algorithm'], 'implicit_q'), self.needs, epochs, strict=False)
        ]
        return rollouts[0].get('model') == '+'.join(model.identity() for model in models)


def expand(script: ModuleType, sweep: Sweep) -> list[Variant]:
    """List the variants of a sweep, each checked by the parser of its script; nothing is started or written.

    script : the module, `scripts.train` or `scripts.plan`
    """
    variants = [make_variant(script, settings) for settings in sweep.combinations()]
    owners = {}
    for variant in variants:
        for folder in variant.results:
            other = owners.setdefault(folder, variant)
            if other is not variant:
                raise InputError(
                    f'two variants would write to {folder}:\n  {other.command_line}\n'
                    f'  {variant.command_line}\n  Give each an exp_name, a prefix or a suffix of its own.'
                )
    return variants


def make_variant(script: ModuleType, settings: Mapping) -> Variant:
    """Resolve one combination of settings as the script itself would."""

    class Parser(script.Parser):
        def error(self, message):
            raise InputError(message)

    path = Path(script.__file__).resolve().relative_to(ROOT)
    if unfit := sorted({'restart', 'debug'} & set(settings)):
        raise InputError(
            f"a sweep goes on where it stopped, and takes no --{unfit[0]}.\n  To start over, delete the runs' folders."
        )
    flags = tuple(itertools.chain(*((f'--{name}', str(value)) for name, value in settings.items())))
    try:
        args = Parser().parse_args(path.stem, flags)
    except InputError as error:
        raise InputError(f'python {path} {shlex.join(flags)}\n  would be refused: {error}') from error
    repetitions = range(getattr(args, 'n_episodes', 1))
    loadpaths = [getattr(args, 'gpt_loadpath', getattr(args, 'loadpath', None)), getattr(args, 'q_loadpath', None)]
    needs = tuple(Path(args.logbase, args.dataset, loadpath) for loadpath in loadpaths if loadpath is not None)
    settings = {name: value for name, value in args.resolve().items() if name not in script.NEUTRAL}
    return Variant(
        str(path),
        flags,
        args.savepath,
        tuple(args.resolve(k)['savepath'] for k in repetitions),
        needs,
        json.loads(json.dumps(settings)),
        None if needs else _find_file(args),
    )


def _find_file(args) -> Path | None:
    """The file that a training learns from; None where its data has no file, or cannot be found now."""
    try:
        return find_source(args.dataset, args.dataset_path).dataset_path
    except (InputError, AttributeError):
        return None


def _fill_in(settings: dict) -> dict:
    """Replace names in braces by the values that these settings have."""
    filled = dict(settings)
    for name, value in settings.items():
        if isinstance(value, str) and '{' in value:
            try:
                filled[name] = value.format(**settings)
            except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
                raise InputError(
                    f'{name} is {value!r}, and braces name settings of the sweep: {", ".join(settings)}.\n'
                    f'  Sweep or set what it names, or leave the braces out.'
                ) from error
    return filled


def _pair(names, value) -> list[tuple]:
    """Join names with their values."""
    return list(zip(names, value, strict=True)) if isinstance(names, tuple) else [(names, value)]
