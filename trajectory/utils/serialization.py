"""The reference's module of saved runs: see `trajectory.storage`."""
from trajectory.storage.serialization import (
    get_latest_epoch,
    load_args,
    load_config,
    load_from_config,
    load_model,
    mkdir,
)

__all__ = ['get_latest_epoch', 'load_args', 'load_config', 'load_from_config', 'load_model', 'mkdir']
