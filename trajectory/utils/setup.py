"""The reference's module of flags and seeds: see `trajectory.cli`."""

from trajectory.cli.setup import Parser, watch
from trajectory.utils.runtime import set_seed

__all__ = ['Parser', 'set_seed', 'watch']
