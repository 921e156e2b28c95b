"""The reference's module of recipes: see `trajectory.storage.config`."""

from trajectory.storage.config import Config

__all__ = ['Config']
