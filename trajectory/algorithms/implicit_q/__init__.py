"""Implicit Q-learning: values of the best actions in the data, from the data's actions alone."""

from trajectory.algorithms.implicit_q.algorithm import ImplicitQLearning as ALGORITHM  # noqa: F401
