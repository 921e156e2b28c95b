"""Recipes: a class and its settings, kept beside the weights so that the object can be built again."""
import importlib
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path

from .errors import InputError
from .serialization import read_json, write_json

logger = logging.getLogger(__name__)

CLASSES = (         # all that a saved recipe may build; as module paths, they are a file format
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

    def __init__(self, _class, verbose=True, savepath=None, **kwargs):
        self._class = find_class(_class) if isinstance(_class, str) else _class
        self._dict = kwargs
        if savepath is not None:
            self.save(Path(*savepath) if isinstance(savepath, tuple | list) else Path(savepath))
        if verbose:
            logger.info('%s', self)

    def __call__(self, *args, **kwargs):
        """Build the object; arguments given here are added to the recipe's, or replace them."""
        if getattr(self._class, 'takes_config', False):  # GPT and Trainer read the recipe whole
            return self._class(self, *args, **kwargs)
        return self._class(*args, **{**self._dict, **kwargs})

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
        """Write the recipe as JSON, for `Config.load` and for readers."""
        try:
            write_json(path, {'class': class_name(self._class), 'settings': self._dict})
        except TypeError as error:
            raise TypeError(f'cannot save this recipe as {path}: {error}\n{self}') from error

    @classmethod
    def load(cls, path) -> 'Config':
        """Read a recipe: JSON, or a pickle that the original code wrote."""
        path = Path(path)
        if path.suffix == '.pkl':
            return _read_pickle(path)
        recipe = read_json(path)
        settings = recipe.get('settings') if isinstance(recipe, dict) else None
        if not isinstance(settings, dict) or 'class' not in recipe:
            raise InputError(
                f'{path} is not a recipe: expected {{"class": "module:Name", "settings": {{...}}}}.\n'
                '  Restore the file, or train again.'
            )
        try:
            return cls(find_class(recipe['class']), verbose=False, **settings)
        except InputError as error:
            raise InputError(f'{path}: {error}') from error


def class_name(_class) -> str:
    return f'{_class.__module__}:{_class.__qualname__}'


def find_class(name):
    """Import the class a recipe names, if it is one of `CLASSES`: a file must not choose what runs."""
    if name not in CLASSES:
        raise InputError(f'a recipe may not build {name!r}, only\n  ' + '\n  '.join(CLASSES))
    module, _, name = name.partition(':')
    return getattr(importlib.import_module(module), name)


class _RecipeUnpickler(pickle.Unpickler):
    """Reads the recipes of published models, and nothing else that a pickle could hold or do."""

    def find_class(self, module, name):
        return Config if (module, name) == (Config.__module__, 'Config') else find_class(f'{module}:{name}')


def _read_pickle(path: Path) -> Config:
    try:
        with open(path, 'rb') as file:
            config = _RecipeUnpickler(file).load()
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    except Exception as error:      # a missing, cut or foreign file makes unpickling raise nearly anything
        raise InputError(
            f'{path} cannot be read as a recipe: {error}.\n  Copy or download it again, or train again.'
        ) from error
    if not isinstance(config, Config) or not {'_class', '_dict'} <= vars(config).keys():
        raise InputError(
            f'{path} holds a {type(config).__name__}, not a recipe.\n  Download it again, or train again.'
        )
    return config
