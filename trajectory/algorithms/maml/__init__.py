"""MAML for reinforcement learning (Finn, Abbeel and Levine 2017): a policy that adapts to a task in a gradient step."""

from trajectory.algorithms.maml.algorithm import MAML as ALGORITHM  # noqa: F401
