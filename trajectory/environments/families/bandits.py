"""Bandits: one pull of one of k arms, whose mean rewards are the task (Duan et al. 2016)."""

import numpy as np
from gymnasium.spaces import Box, Discrete

from trajectory.environments.families.batched import BatchedFamily, TaskEnv


class Bandits(BatchedFamily):
    """k arms; an episode is one pull.

    task        : `mean` [ k ], uniform in [0, 1]
    observation : always [0], float32
    action      : the arm
    std         : of Gaussian rewards; None for rewards of 0 or 1
    """

    observation_space = Box(0, 1, (1,), np.float32)
    keys = ('mean',)

    def __init__(self, k: int, std: float | None = None):
        self.k, self.std = k, std
        self.action_space = Discrete(k)

    def default_task(self):
        return {'mean': np.full(self.k, 0.5)}

    def sample_tasks(self, n, rng):
        return [{'mean': mean} for mean in rng.random((n, self.k))]

    def set_tasks(self, tasks):
        self.means = np.array([task['mean'] for task in tasks], dtype=np.float64)

    def reset(self):
        return np.zeros((len(self.means), 1), dtype=np.float32)

    def step(self, actions, rng):
        means = self.means[np.arange(len(self.means)), actions]
        rewards = rng.binomial(1, means) if self.std is None else rng.normal(means, self.std)
        return self.reset(), rewards.astype(np.float64), np.ones(len(means), dtype=bool)

    def optimal_return(self, task):
        """Of the best arm."""
        return float(np.max(task['mean']))


class BernoulliBanditEnv(TaskEnv):
    """Bandit-K<k>-v0: rewards of 0 or 1."""

    def __init__(self, k: int):
        super().__init__(Bandits(k))


class GaussianBanditEnv(TaskEnv):
    """GaussianBandit-K<k>-v0: rewards around the arm's mean."""

    def __init__(self, k: int, std: float = 1.0):
        super().__init__(Bandits(k, std))
