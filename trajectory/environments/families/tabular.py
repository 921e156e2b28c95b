"""Tabular MDPs: random transitions and rewards of 10 states and 5 actions (Duan et al. 2016), and their optima."""

import numpy as np
from gymnasium.spaces import Box, Discrete

from trajectory.environments.families.batched import BatchedFamily, TaskEnv

N_STATES, N_ACTIONS, N_STEPS = 10, 5, 10


class TabularMDP(BatchedFamily):
    """S states and A actions, from state 0; only the time limit ends an episode.

    task        : `transitions` [ S x A x S ], Dirichlet(1) for each state and action; `rewards_mean` [ S x A ], N(1, 1)
    observation : one-hot state [ S ], float32
    reward      : N(rewards_mean[s, a], 1), drawn before the next state
    """

    observation_space = Box(0, 1, (N_STATES,), np.float32)
    action_space = Discrete(N_ACTIONS)
    keys = ('transitions', 'rewards_mean')

    def default_task(self):
        return {
            'transitions': np.full((N_STATES, N_ACTIONS, N_STATES), 1 / N_STATES),
            'rewards_mean': np.ones((N_STATES, N_ACTIONS)),
        }

    def sample_tasks(self, n, rng):
        transitions = rng.dirichlet(np.ones(N_STATES), (n, N_STATES, N_ACTIONS))
        means = rng.normal(1.0, 1.0, (n, N_STATES, N_ACTIONS))
        return [{'transitions': table, 'rewards_mean': mean} for table, mean in zip(transitions, means, strict=True)]

    def set_tasks(self, tasks):
        cumulative = np.array([task['transitions'] for task in tasks], dtype=np.float64).cumsum(axis=-1)
        self.cumulative = cumulative / cumulative[..., -1:]
        self.means = np.array([task['rewards_mean'] for task in tasks], dtype=np.float64)

    def reset(self):
        self.states = np.zeros(len(self.means), dtype=np.int64)
        return self._observe()

    def _observe(self):
        return np.eye(N_STATES, dtype=np.float32)[self.states]

    def step(self, actions, rng):
        rows = np.arange(len(self.states))
        rewards = rng.normal(self.means[rows, self.states, actions], 1.0)
        draws = rng.random(len(rows))
        self.states = (self.cumulative[rows, self.states, actions] <= draws[:, None]).sum(axis=1)
        return self._observe(), rewards, np.zeros(len(rows), dtype=bool)

    def optimal_return(self, task):
        """Of ten steps from state 0, by value iteration."""
        return float(value_iteration_finite_horizon(**task, horizon=N_STEPS, gamma=1.0)[0])


class TabularMDPEnv(TaskEnv):
    """TabularMDP-v0."""

    def __init__(self):
        super().__init__(TabularMDP())


def value_iteration(transitions, rewards_mean, gamma: float = 0.95, tolerance: float = 1e-10) -> np.ndarray:
    """Optimal discounted values of endless episodes, v(s) = max_a r(s, a) + γ Σ_s' P(s' | s, a) v(s').

    transitions : [ S x A x S ]    rewards_mean : [ S x A ]    gamma : below 1
    tolerance   : of the values
    returns     : [ S ]
    """
    values = np.zeros(len(rewards_mean))
    while True:
        new = (rewards_mean + gamma * transitions @ values).max(axis=1)
        if np.abs(new - values).max() * gamma <= tolerance * (1 - gamma):
            return new
        values = new


def value_iteration_finite_horizon(transitions, rewards_mean, horizon: int = 10, gamma: float = 0.95) -> np.ndarray:
    """Optimal values with this many steps to go.

    transitions : [ S x A x S ]    rewards_mean : [ S x A ]
    returns     : [ S ]
    """
    values = np.zeros(len(rewards_mean))
    for _ in range(horizon):
        values = (rewards_mean + gamma * transitions @ values).max(axis=1)
    return values
