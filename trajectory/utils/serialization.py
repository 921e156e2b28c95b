"""The reference's module of saved runs: see `trajectory.storage`."""

from trajectory.algorithms.trajectory_transformer.pretrained import load_model
from trajectory.storage.config import load_args, load_config, load_from_config
from trajectory.storage.weights import get_latest_epoch
from trajectory.utils.files import mkdir

__all__ = ['get_latest_epoch', 'load_args', 'load_config', 'load_from_config', 'load_model', 'mkdir']
