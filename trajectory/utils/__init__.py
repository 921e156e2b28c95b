"""Errors, arrays, progress bars and timers; and the names that the reference offers here, loaded when first used."""

import importlib
from typing import TYPE_CHECKING

from trajectory.utils.arrays import (
    free_memory,
    normalize,
    peak_memory,
    resolve_device,
    set_device,
    to_device,
    to_img,
    to_np,
    to_torch,
)
from trajectory.utils.errors import InputError, check_fraction, check_positive
from trajectory.utils.files import mkdir, read_json, remove_partials, write_atomically, write_json
from trajectory.utils.layout import TransitionLayout
from trajectory.utils.progress import Progress, Silent
from trajectory.utils.runtime import set_seed, set_threads, tune_malloc
from trajectory.utils.timer import Timer

if TYPE_CHECKING:  # what `__getattr__` loads, for type checkers
    from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel, load_model  # noqa: F401
    from trajectory.cli.setup import Flags, Parser, run, watch  # noqa: F401
    from trajectory.rendering.renderers import make_renderer  # noqa: F401
    from trajectory.storage.checkpoints import Checkpoints, catch_signals, clear_run, find_checkpoint  # noqa: F401
    from trajectory.storage.config import Config, load_args, load_config, load_from_config  # noqa: F401
    from trajectory.storage.weights import get_latest_epoch, save_state  # noqa: F401
    from trajectory.training.metrics import Metrics, require_package  # noqa: F401
    from trajectory.training.trainer import Trainer, count_epochs  # noqa: F401

ELSEWHERE = {
    'trajectory.algorithms.trajectory_transformer.pretrained': ('TrainedModel', 'load_model'),
    'trajectory.cli.setup': ('Flags', 'Parser', 'run', 'watch'),
    'trajectory.rendering.renderers': ('make_renderer',),
    'trajectory.storage.checkpoints': ('Checkpoints', 'catch_signals', 'clear_run', 'find_checkpoint'),
    'trajectory.storage.config': ('Config', 'load_args', 'load_config', 'load_from_config'),
    'trajectory.storage.weights': ('get_latest_epoch', 'save_state'),
    'trajectory.training.metrics': ('Metrics', 'require_package'),
    'trajectory.training.trainer': ('Trainer', 'count_epochs'),
}
_MODULE_OF = {name: module for module, names in ELSEWHERE.items() for name in names}
_SUBMODULES = ('config', 'discretization', 'git_utils', 'rendering', 'serialization', 'setup', 'training', 'video')

__all__ = [
    'InputError',
    'Progress',
    'Silent',
    'Timer',
    'TransitionLayout',
    'check_fraction',
    'check_positive',
    'free_memory',
    'mkdir',
    'normalize',
    'peak_memory',
    'read_json',
    'remove_partials',
    'resolve_device',
    'set_device',
    'set_seed',
    'set_threads',
    'to_device',
    'to_img',
    'to_np',
    'to_torch',
    'tune_malloc',
    'write_atomically',
    'write_json',
    *_MODULE_OF,
]


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    if name in _SUBMODULES:
        return importlib.import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
