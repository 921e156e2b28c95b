"""The reference's module of flags and seeds: see `trajectory.cli`."""
from trajectory.cli.setup import Parser, set_seed, watch

__all__ = ['Parser', 'set_seed', 'watch']
