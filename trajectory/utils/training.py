"""The reference's module of the trainer: see `trajectory.training`."""

from trajectory.training.trainer import Trainer

__all__ = ['Trainer']
