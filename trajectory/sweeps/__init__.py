"""Sweeps: what to try, and the engines that run it."""

from trajectory.sweeps.command import Parser, launch
from trajectory.sweeps.description import Sweep, Variant, expand
from trajectory.sweeps.work import Outcome

__all__ = ['Outcome', 'Parser', 'Sweep', 'Variant', 'expand', 'launch']
