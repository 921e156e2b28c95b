"""Behavior cloning: regress the recorded actions on the observations before them."""

from trajectory.algorithms.behavior_cloning.algorithm import BehaviorCloning as ALGORITHM  # noqa: F401
