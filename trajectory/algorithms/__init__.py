"""Algorithms: one folder a method, all of one anatomy."""

from trajectory.algorithms.base import ALGORITHMS, Algorithm, find_algorithm

__all__ = ['ALGORITHMS', 'Algorithm', 'find_algorithm']
