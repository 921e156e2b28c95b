"""Start a script: read its settings, name its folder, and tell the user in one line what is wrong with them.

Weakest to strongest, a setting is the default in the config module, the dataset's block there, a flag.
"""

import argparse
import difflib
import importlib
import importlib.metadata
import logging
import math
import platform
import re
import sys
import types
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import torch
from tap import Tap

from trajectory.utils.errors import InputError, Stopped
from trajectory.utils.files import mkdir, write_json
from trajectory.utils.git_utils import get_git_rev, save_git_diff
from trajectory.utils.runtime import check_seed, set_seed

RESERVED = ('experiments', 'base', 'aliases')  # names of a config module that are no dataset's block
MAX_NAME = 200  # bytes of a folder's name, which leaves room for what is written beside it
MAX_WHOLE = 10**30  # of a flag
VERSIONS_TO_RECORD = ('torch', 'numpy', 'gymnasium', 'mujoco')


def check_folder_name(setting: str, name: str, depth: int | None = None):
    """Refuse a name that is no folder below another.    depth : how many folders deep, where that is given"""
    path = Path(name)
    if not path.parts or path.is_absolute() or '..' in path.parts or len(path.parts) > (depth or len(path.parts)):
        raise InputError(
            f'{setting} names a folder below --logbase, and cannot be {name!r}.\n  Pass --{setting} mine, say.'
        )
    try:
        longest = max(len(part.encode()) for part in path.parts)
    except UnicodeEncodeError as error:
        raise InputError(f'{setting} is no text in UTF-8: {name!r}.\n  Pass --{setting} mine, say.') from error
    if longest > MAX_NAME:
        raise InputError(
            f'{setting} has a name of {longest} bytes, the longest has {MAX_NAME}.\n  Pass a shorter --{setting}.'
        )


def watch(args_to_watch) -> Callable:
    """Return a function that names a run's folder after some settings, given as pairs (setting, label).

    ('prefix', ''), ('horizon', 'H'), ('beam_width', 'beam') give `plans/defaults/H15_beam128`. A setting that is absent
    is left out.
    """

    def name_folder(args) -> str:
        name = '_'.join(
            f'{label}{getattr(args, setting)}' for setting, label in args_to_watch if hasattr(args, setting)
        )
        return name.replace('/_', '/').replace('(', '').replace(')', '').replace(', ', '-')

    return name_folder


class Flags(Tap):
    """The typed flags of a script that has no experiments: its class's annotations, and no more."""

    debug: bool = False  # show the traceback of an error in the input

    def __init__(self, *args, **kwargs):
        kwargs.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def configure(self):
        for name, hint in get_type_hints(type(self)).items():
            if hint is bool or get_origin(hint) in (Union, types.UnionType, Literal):  # which Tap reads less well
                self.add_argument(f'--{name}', type=reader(hint), metavar='|'.join(_words(hint)))

    def parse_args(self, _experiment=None, argv=None):
        """Read the flags; no experiment has a say in them here."""
        words = _join_negative_numbers(sys.argv[1:] if argv is None else argv)
        super().parse_args(self._write_out_booleans(words), known_only=True)
        if self.extra_args:
            self.error(f'unrecognized arguments: {" ".join(self.extra_args)}{suggest(self, self.extra_args)}')
        return self

    def _write_out_booleans(self, argv) -> list[str]:
        """Write a bare `--flag`, and `--flag False`, as `--flag=True` and `--flag=False`."""
        booleans = {
            flag for action in self._actions if action.metavar == 'True|False' for flag in action.option_strings
        }
        has_positionals = any(not action.option_strings for action in self._actions)
        words = []
        for word in [*argv, '--']:
            if words and words[-1] in booleans:
                is_value = word in ('True', 'False') or not (has_positionals or word.startswith('-'))
                words[-1] += f'={word}' if is_value else '=True'
                if is_value:
                    continue
            words.append(word)
        return words[:-1]

    def error(self, message):
        """Say what is wrong with the input, without the page of usage, and exit."""
        self.exit(2, f'{self.prog}: error: {message}\n')


class Parser(Flags):
    """Has one typed flag, and after parsing one attribute, per setting of an experiment.

    class Parser(utils.Parser):
        dataset: str = 'halfcheetah-medium-expert-v2'   # dataset to train on
        config: str = 'config.offline'                  # module with the settings

    A config module has `experiments`, dataclasses of settings by name; `algorithm`, the method (the Trajectory
    Transformer, if it does not say); and may have `dataset`, the default of that flag, and `aliases` of flags.
    `Parser().parse_args('plan')` reads them and writes nothing; `prepare_folder` makes the run's folder.
    """

    dataset: str  # name of the dataset
    config: str = 'config.offline'  # module that holds the settings

    def parse_args(self, experiment=None, argv=None):  # Tap's own takes the arguments first
        """Resolve the settings of `experiment`, and the folder of the run, `savepath`; without one, the flags alone."""
        argv = sys.argv[1:] if argv is None else list(argv)
        if experiment is None:
            return super().parse_args(None, argv)
        self.experiment = experiment
        self.debug = '--debug' in argv
        argv = [_with_underscores(word) for word in argv]
        module = self.import_config(self._early(argv, 'config', getattr(self, 'config', None)))
        self.algorithm = getattr(module, 'algorithm', 'trajectory_transformer')
        aliases = {f'--{alias}': f'--{name}' for alias, name in getattr(module, 'aliases', {}).items()}
        argv = [
            aliases.get(word.partition('=')[0], word.partition('=')[0]) + ''.join(word.partition('=')[1:])
            for word in argv
        ]
        dataset = getattr(module, 'dataset', getattr(self, 'dataset', None))
        self.set_defaults(dataset=dataset)
        self.add_extras(*self.read_config(module, self._early(argv, 'dataset', dataset)))
        super().parse_args(experiment, argv)
        check_seed(getattr(self, 'seed', 0))
        self.generate_exp_name()
        return self

    def _early(self, argv, name, default):
        """The value of a flag that others depend on."""
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        early.add_argument(f'--{name}', nargs='?', default=default, const=default)
        return getattr(early.parse_known_args(argv)[0], name)

    def import_config(self, config):
        """The module that holds the settings."""
        try:
            if not all(map(str.isidentifier, config.split('.'))):
                raise ModuleNotFoundError(name=config)
            return importlib.import_module(config)
        except ModuleNotFoundError as error:
            if error.name is None or not f'{config}.'.startswith(f'{error.name}.'):
                raise  # it is there, but something that it imports is not
            raise InputError(f'there is no module {config!r}.\n  Pass --config config.offline.') from error

    def read_config(self, module, dataset):
        """Return the experiment's settings, a dataclass, and what the dataset's block changes in them.

        A method whose agents have settings of a search is evaluated by its experiment `plan`.
        """
        config = module.__name__
        experiments = getattr(module, 'experiments', None) or reference_experiments(module)
        self.acts_by = 'evaluate' if 'evaluate' in experiments else 'plan'
        if self.experiment == 'evaluate':
            self.experiment = self.acts_by
        if self.experiment not in experiments:
            names = ', '.join(experiments) or 'none'
            raise InputError(f'{config} has no experiment {self.experiment!r}; its experiments are {names}.')
        block_name = str(dataset).replace('-', '_')
        block = getattr(module, block_name, None)
        is_block = isinstance(block, Mapping) and block is not experiments and block_name not in RESERVED
        block = block if is_block else {}
        check_block(block, experiments, name=f'{config}.{block_name}')
        return experiments[self.experiment], block.get(self.experiment, {})

    def add_extras(self, settings, changes):
        """Add one flag per setting, with the dataset's value, where there is one, for its default."""
        hints = get_type_hints(settings, include_extras=True)
        defaults = {**vars(settings()), **changes}
        for name, hint in hints.items():
            if hasattr(self, name):
                raise InputError(f'{name!r} cannot be a setting: the parser has an attribute of that name.')
            type_, meaning = get_args(hint) if get_origin(hint) is Annotated else (hint, '')
            default = 'built from other settings' if callable(defaults[name]) else defaults[name]
            origin = ', for this dataset' if name in changes else ''
            argparse.ArgumentParser.add_argument(  # Tap's takes no flags once it is made
                self,
                f'--{name}',
                type=reader(type_),
                default=defaults[name],
                metavar='|'.join(_words(type_)),
                **({'nargs': '+', 'action': _StoreList} if _is_list(type_) else {}),
                help=f'{meaning} (default: {default}{origin})'.replace('%', '%%'),
            )

    def set_seed(self):
        """Seed the global generators, if the experiment has a seed; `main` calls it once, and parsing does not."""
        if hasattr(self, 'seed'):
            set_seed(self.seed)

    def generate_exp_name(self):
        """Name the run, if the settings do so by a function, and with it its folder."""
        if callable(self.exp_name):
            self.exp_name = self.exp_name(self)
        suffix = getattr(self, 'suffix', '')
        for name in ('dataset', 'exp_name', *(['suffix'] if hasattr(self, 'suffix') else [])):
            check_folder_name(name, getattr(self, name), depth=1 if name == 'suffix' else None)
        self.savepath = Path(self.logbase, self.dataset, self.exp_name, suffix)

    def resolve(self, repetition=0) -> dict:
        """Return every setting of a run.

        repetition : the k-th of several runs has a folder, a suffix and a seed of its own, as if it were run alone
        """
        resolved = self.as_dict()
        if repetition:
            resolved['suffix'] = (
                f'{int(self.suffix) + repetition}' if self.suffix.isdecimal() else (f'{self.suffix}_{repetition}')
            )
            resolved['seed'] += repetition
            resolved['savepath'] = self.savepath.with_name(resolved['suffix'])
        return resolved

    # what touches the disk: called once the script has found nothing wrong with its input

    def prepare_folder(self, repetition=0) -> Path:
        """Make the folder of the k-th run and record in it what will be run: settings, versions, commit, changes."""
        resolved = self.resolve(repetition)
        self.mkdir(resolved['savepath'])
        self.get_commit()
        self.save(resolved)
        self.save_diff(resolved['savepath'])
        return resolved['savepath']

    def mkdir(self, folder=None):
        mkdir(folder or self.savepath)

    def get_commit(self):
        self.commit = get_git_rev()

    def save(self, resolved=None):
        """Write `args.json`.    resolved : the settings, where they are not all this parser's own"""
        resolved = resolved or self.as_dict()
        installed = {name: _version(name) for name in VERSIONS_TO_RECORD}
        write_json(
            resolved['savepath'] / 'args.json',
            {
                **resolved,
                'commit': self.commit,
                'versions': {'python': platform.python_version(), **installed},
            },
        )

    def save_diff(self, folder=None):
        """Write `diff.txt`, if the code is under version control."""
        save_git_diff((folder or self.savepath) / 'diff.txt')

    def as_dict(self):
        """Return what was resolved: every flag, the experiment, and the folder."""
        flags = [action.dest for action in self._actions if action.dest != 'help']
        return {name: getattr(self, name) for name in ['experiment', 'algorithm', *flags, 'savepath']}


def run(main, parser_class, experiment):
    """Run a script: parse its flags, call `main(args)`, and end an error in the input with one message.

    Exits with 2 after such an error, with 130 after Ctrl-C, with 143 where SIGTERM stopped a run that saved itself. Any
    other exception is a bug, and shown whole.
    """
    parser = parser_class(description=sys.modules[main.__module__].__doc__)
    with log_to_stdout():
        try:
            return main(parser.parse_args(experiment))
        except InputError as error:
            if parser.debug:
                raise
            parser.error(error)
        except (MemoryError, RuntimeError) as error:
            if parser.debug or not is_out_of_memory(error):
                raise
            parser.error(
                'the memory does not suffice.\n  Pass a smaller --batch_size, --beam_width or --n_episodes, '
                'say; --debug shows where it happened.'
            )
        except Stopped as stopped:
            parser.exit(128 + stopped.signum, f'\n{parser.prog}: {stopped}\n')
        except KeyboardInterrupt:
            parser.exit(130, f'\n{parser.prog}: interrupted\n')


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine, or the device, had no room left."""
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "can't allocate memory" in str(error)


def suggest(parser, unknown) -> str:
    """Say which flags the unknown words may be meant for."""
    flags = [flag for action in parser._actions for flag in action.option_strings]
    words = [word.partition('=')[0] for word in unknown if word.startswith('-')]
    near = [match for word in words for match in difflib.get_close_matches(word, flags, n=1)]
    return f'. Did you mean {", ".join(near)}?' if near else '. --help lists the flags.'


# -------------------------------- settings -------------------------------- #


def reference_experiments(module) -> dict:
    """The experiments of a config module in the reference's form, `base = {'train': {…}, 'plan': {…}}`.

    Its settings are the defaults; what it does not name has the default of `config.offline`.
    """
    base = getattr(module, 'base', None)
    if not isinstance(base, Mapping) or not all(isinstance(settings, Mapping) for settings in base.values()):
        return {}
    ours, experiments = importlib.import_module('config.offline').experiments, {}
    for name, settings in base.items():
        hints = get_type_hints(ours[name], include_extras=True) if name in ours else {}
        defaults = {**(vars(ours[name]()) if name in ours else {}), **settings}
        fields = [
            (setting, hints.get(setting, _type_of(value)), field(default_factory=lambda value=value: value))
            for setting, value in defaults.items()
        ]
        experiments[name] = make_dataclass(name.capitalize(), fields)
    return experiments


def _type_of(value):
    """The type of a flag, by its default."""
    return type(value) if isinstance(value, bool | int | float | str) else int | float | str | None


def check_block(block, experiments, name):
    """Make sure that a dataset's block changes only settings that exist."""
    for experiment, changes in block.items():
        known = get_type_hints(experiments[experiment]) if experiment in experiments else experiments
        for key in changes if experiment in experiments else [experiment]:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f' Did you mean {near[0]!r}?' if near else f' There is {", ".join(known)}.'
                raise InputError(f'{name} has {key!r}, which no setting or experiment is called.{hint}')


def reader(type_) -> Callable:
    """Return the function that turns a flag's word into a value of this type, for argparse."""
    expected = ' or '.join(_words(type_))

    def read(word):
        for option in _options(type_):
            if get_origin(option) is Literal:
                words = {str(value): value for value in get_args(option)}
            else:
                words = {type(None): {'None': None}, bool: {'True': True, 'False': False}}.get(option, {})
            if word in words:
                return words[word]
            if option in (int, float, str):
                try:
                    value = option(word)
                except ValueError:
                    continue
                if option is str or (abs(value) <= MAX_WHOLE if option is int else math.isfinite(value)):
                    return value
        raise argparse.ArgumentTypeError(f'expected {expected}, got {word!r}')

    return read


class _StoreList(argparse.Action):
    """Keeps the values of a flag that takes several; None alone is None."""

    def __call__(self, parser, namespace, values, option_string=None):  # noqa: ARG002
        setattr(namespace, self.dest, None if values == [None] else values)


def _alternatives(type_) -> tuple:
    return get_args(type_) if get_origin(type_) in (Union, types.UnionType) else (type_,)


def _is_list(type_) -> bool:
    return any(get_origin(option) is list for option in _alternatives(type_))


def _options(type_) -> list:
    """List what a type admits: None and fixed words first, then numbers, any text last."""
    options = _alternatives(type_)
    options = [get_args(option)[0] if get_origin(option) is list else option for option in options]
    order = [type(None), Literal, bool, int, float, str]
    readable = [option for option in options if option is not Callable]
    return sorted(readable, key=lambda option: order.index(get_origin(option) or option))


def _with_underscores(word: str) -> str:
    """`--batch-size` as `--batch_size`."""
    flag, equals, value = word.partition('=')
    return flag.replace('-', '_').replace('__', '--', 1) + equals + value if re.match('--[a-z]', flag) else word


def _words(type_) -> list[str]:
    """Name what a type admits, as --help and errors do: `None or float`."""
    words = []
    for option in _options(type_):
        if get_origin(option) is Literal:
            words += map(str, get_args(option))
        else:
            words += {type(None): ['None'], bool: ['True', 'False']}.get(option, [option.__name__])
    return words


def _join_negative_numbers(argv) -> list[str]:
    """Write `--flag -1e3` as `--flag=-1e3`, which argparse would otherwise take for two flags."""
    joined = []
    for word in argv:
        if joined and re.fullmatch(r'--\w+', joined[-1]) and re.fullmatch(r'-(\d.*|\.\d.*|inf)', word):
            joined[-1] += f'={word}'
        else:
            joined.append(word)
    return joined


def _version(package) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# --------------------------------- voice ---------------------------------- #


class _RoomFormatter(logging.Formatter):
    """Puts the room that speaks before the message: `trajectory.cli.setup` says `[ cli/setup ] …`."""

    def __init__(self):
        super().__init__('[ %(room)s ] %(message)s')

    def format(self, record):
        if record.name == '__main__':
            record.room = '/'.join(Path(sys.argv[0]).resolve().with_suffix('').parts[-2:])
        else:
            record.room = record.name.removeprefix('trajectory.').replace('.', '/')
        return super().format(record)


@contextmanager
def log_to_stdout():
    """Print what the rooms and the script log, for as long as this lasts."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_RoomFormatter())
    speakers = [logging.getLogger('trajectory'), logging.getLogger('__main__')]
    for speaker in speakers:
        speaker.addHandler(handler)
        speaker.setLevel(logging.INFO)
    try:
        yield
    finally:
        for speaker in speakers:
            speaker.removeHandler(handler)
