"""The reference's module of the discretizer: see `trajectory.datasets.discretization`."""

from trajectory.datasets.discretization import QuantileDiscretizer, largest_nonzero_index

__all__ = ['QuantileDiscretizer', 'largest_nonzero_index']
