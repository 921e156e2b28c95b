"""The floor of the house: settings, recipes, files, progress; it knows no other room."""
from .arrays import free_memory, normalize, peak_memory, resolve_device, set_device, to_device, to_img, to_np, to_torch
from .checkpoints import Checkpoints, catch_signals, clear_run, find_checkpoint
from .config import Config
from .errors import InputError
from .layout import TransitionLayout
from .metrics import Metrics, need
from .pretrained import TrainedModel
from .progress import Progress, Silent
from .rendering import make_renderer
from .serialization import (
    get_latest_epoch,
    load_args,
    load_config,
    load_from_config,
    load_model,
    mkdir,
    read_json,
    remove_partials,
    save_state,
    write_atomically,
    write_json,
)
from .setup import Flags, Parser, check_positive, check_share, keep_freed_memory, run, set_seed, set_threads, watch
from .team import join_team
from .timer import Timer
from .training import Trainer, count_epochs

__all__ = [
    'Checkpoints',
    'Config',
    'Flags',
    'InputError',
    'Metrics',
    'Parser',
    'Progress',
    'Silent',
    'Timer',
    'TrainedModel',
    'Trainer',
    'TransitionLayout',
    'catch_signals',
    'check_positive',
    'check_share',
    'clear_run',
    'count_epochs',
    'find_checkpoint',
    'free_memory',
    'get_latest_epoch',
    'join_team',
    'keep_freed_memory',
    'load_args',
    'load_config',
    'load_from_config',
    'load_model',
    'make_renderer',
    'mkdir',
    'need',
    'normalize',
    'peak_memory',
    'read_json',
    'remove_partials',
    'resolve_device',
    'run',
    'save_state',
    'set_device',
    'set_seed',
    'set_threads',
    'to_device',
    'to_img',
    'to_np',
    'to_torch',
    'watch',
    'write_atomically',
    'write_json',
]
