"""Recipes: a class and its settings, kept beside the weights so that the object can be built again."""

import importlib
import io
import logging
import pickle
import pickletools
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from trajectory.utils.errors import InputError
from trajectory.utils.files import check_regular, mkdir, read_json, write_json

logger = logging.getLogger(__name__)

CLASSES = (  # all that a saved recipe may build; as module paths, they are a file format
    'trajectory.datasets.sequence:SequenceDataset',
    'trajectory.datasets.sequence:DiscretizedDataset',
    'trajectory.datasets.sequence:GoalDataset',
    'trajectory.models.transformers:GPT',
    'trajectory.models.transformers:ConditionalGPT',
    'trajectory.utils.training:Trainer',
)


class Config(Mapping):
    """`Config(GPT, n_layer=4)()` builds the model; the same recipe, saved, rebuilds it next to its weights.

    The class is given as itself or by its name in `CLASSES`; settings are read as items or as attributes.
    """

    # Published pickles name `trajectory.utils.config:Config` and the attributes `_class` and `_dict`: they
    # are a file format, and unpickling sets the two without passing through __init__.
    __module__ = 'trajectory.utils.config'

    def __init__(self, _class, verbose=True, savepath=None, **kwargs):
        self._class = find_class(_class) if isinstance(_class, str) else _class
        self._dict = kwargs
        if savepath is not None:
            path = Path(*savepath) if isinstance(savepath, tuple | list) else Path(savepath)
            mkdir(path.parent)
            self.save(path)
        if verbose:
            logger.info('%s', self)

    def __call__(self, *args, **kwargs):
        """Build the object; arguments given here are added to the recipe's, or replace them."""
        if getattr(self._class, 'takes_config', False):  # GPT and Trainer read the recipe whole
            return self._class(self, *args, **kwargs)
        return self._class(*args, **{**self._dict, **kwargs})

    make = __call__  # the reference's name

    def __getitem__(self, name):
        return self._dict[name]

    def __iter__(self):
        return iter(self._dict)

    def __len__(self):
        return len(self._dict)

    def __getattr__(self, name):
        if name.startswith('_') or name not in self._dict:  # while unpickling, `_dict` itself is missing
            raise AttributeError(f'this recipe has no setting {name!r}')
        return self._dict[name]

    def __repr__(self):
        settings = [f'    {name}: {value}' for name, value in self._dict.items()]
        return '\n'.join([class_name(self._class), *settings])

    def save(self, path):
        """Write the recipe as JSON, for `Config.load` and for readers: to `x.json` where `path` is `x.pkl`."""
        path = json_path(path)
        try:
            write_json(path, {'class': class_name(self._class), 'settings': self._dict})
        except TypeError as error:
            raise TypeError(f'cannot save this recipe as {path}: {error}\n{self}') from error

    @classmethod
    def load(cls, path) -> 'Config':
        """Read a recipe: JSON, or a pickle that the original code wrote."""
        path = find_recipe(path)
        if path.suffix == '.pkl':
            return _read_pickle(path)
        recipe = read_json(path)
        settings = recipe.get('settings') if isinstance(recipe, dict) else None
        if not isinstance(settings, dict) or 'class' not in recipe:
            raise InputError(
                f'{path} is not a recipe: expected {{"class": "module:Name", "settings": {{...}}}}.\n'
                '  Restore the file, or train again.'
            )
        return cls.restore(recipe['class'], settings, path)

    @classmethod
    def restore(cls, name, settings: dict, path) -> 'Config':
        """The recipe that the file `path` holds; no setting reaches __init__, whose `savepath` would write."""
        config = cls.__new__(cls)
        try:
            config._class, config._dict = find_class(name), dict(settings)
        except InputError as error:
            raise InputError(f'{path}: {error}') from error
        return config


def load_args(*loadpath) -> Namespace:
    """Return the settings that the run in this folder was started with."""
    path = Path(*loadpath) / 'args.json'
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise InputError(f'{path} holds a {type(settings).__name__}, expected an object.\n  Restore it, or run again.')
    return Namespace(**settings)


def load_config(*loadpath) -> Config:
    """Return the saved recipe, `x.json` or `x.pkl`: the name that was given, or in its absence the other."""
    return Config.load(Path(*loadpath))


def load_from_config(*loadpath):
    """Build what the saved recipe describes."""
    return load_config(*loadpath)()


def json_path(path) -> Path:
    """Where a recipe lies that the reference's scripts call `x.pkl`: nothing here is pickled."""
    path = Path(path)
    return path.with_suffix('.json') if path.suffix == '.pkl' else path


def find_recipe(path) -> Path:
    """The file of a recipe, by either of its names, `x.json` or the reference's `x.pkl`; that given comes first."""
    path = Path(path)
    other = path.with_suffix({'.pkl': '.json', '.json': '.pkl'}.get(path.suffix, path.suffix))
    return other if other.exists() and not path.exists() else path


def class_name(_class) -> str:
    return f'{_class.__module__}:{_class.__qualname__}'


def find_class(name):
    """Import the class a recipe names, if it is one of `CLASSES`."""
    module, _, name = check_name(name).partition(':')
    return getattr(importlib.import_module(module), name)


def check_name(name):
    """Return the name of a class, if a recipe may build it: a file must not choose what runs."""
    if name not in CLASSES:
        raise InputError(f'a recipe may not build {str(name)[:100]!r}, only\n  ' + '\n  '.join(CLASSES))
    return name


# ---------------------------- published pickles --------------------------- #

MAX_PICKLE = 2**16  # bytes; the published ones have 400
MAX_VALUES = 100
MAX_TUPLES = 16


class _Pickled:
    """Stands in for a `Config` while a pickle is read: it takes the two attributes, and can do nothing."""

    def __setstate__(self, state):
        self.__dict__ = dict(state)


class _RecipeUnpickler(pickle.Unpickler):
    """Reads the recipes of published models, and nothing else that a pickle could hold or do.

    A class that it admits becomes its name: text, which a pickle cannot call.
    """

    def find_class(self, module, name):
        is_config = (module, name) == (Config.__module__, 'Config')
        return _Pickled if is_config else check_name(f'{module}:{name}')


def _read_pickle(path: Path) -> Config:
    check_regular(path, MAX_PICKLE)
    try:
        content = path.read_bytes()
        _check_opcodes(content)
        found = _RecipeUnpickler(io.BytesIO(content)).load()
        if not isinstance(found, _Pickled) or vars(found).keys() != {'_class', '_dict'}:
            raise InputError(f'it holds {_kind(found)}, not a recipe.\n  Download it again, or train again.')
        _check_plain(found._dict)
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    except Exception as error:  # a missing, cut or foreign file makes unpickling raise nearly anything
        raise InputError(
            f'{path} cannot be read as a recipe: {str(error) or type(error).__name__}.\n'
            '  Copy or download it again, or train again.'
        ) from error
    return Config.restore(found._class, found._dict, path)


def _check_opcodes(content: bytes):
    """Refuse what would exhaust the memory before `find_class` is ever asked."""
    if len(content) > MAX_PICKLE:
        raise InputError(f'it has {len(content):,} bytes, a recipe has at most {MAX_PICKLE:,}.')
    n_tuples = 0
    for opcode, argument, _ in pickletools.genops(content):
        n_tuples += 'TUPLE' in opcode.name or 'SET' in opcode.name
        if n_tuples > MAX_TUPLES:  # a tuple of itself twice over takes for ever to hash
            raise InputError(f'it has more than {MAX_TUPLES} tuples, a recipe has a few.')
        if 'PUT' in opcode.name and argument > len(content):  # the memo grows to the largest index
            raise InputError(f'its {opcode.name} {argument} is no place in so small a file.')


def _check_plain(settings):
    """Refuse settings that are not made of numbers and text, or short lists of them."""
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise InputError('its settings are not a mapping from names to values.')
    if len(settings) > MAX_VALUES:
        raise InputError(f'it has {len(settings)} settings, a recipe has at most {MAX_VALUES}.')
    for name, value in settings.items():
        parts = value if isinstance(value, list | tuple) else [value]
        if len(parts) > MAX_VALUES or not all(isinstance(part, str | int | float | None) for part in parts):
            raise InputError(
                f'its setting {name[:100]!r} is {_kind(value)}, expected a number, a text, or a list '
                f'of at most {MAX_VALUES} of them.'
            )


def _kind(value) -> str:
    return 'a Config' if isinstance(value, _Pickled) else f'a {type(value).__name__}'
