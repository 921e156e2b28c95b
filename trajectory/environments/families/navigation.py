"""2-D navigation: move a point to a goal that is not observed (Finn, Abbeel and Levine 2017)."""

import numpy as np
from gymnasium.spaces import Box

from trajectory.environments.families.batched import BatchedFamily, TaskEnv

MAX_MOVE = 0.1
REACHED = 0.01  # gap in each coordinate at which an episode ends
N_STEPS = 100


class Navigation(BatchedFamily):
    """Points that start at (0, 0); the reward is minus the distance to the goal after the move.

    task        : `goal`, uniform in [-0.5, 0.5] in both coordinates
    observation : position [ 2 ], float32
    action      : move [ 2 ], clipped to [-0.1, 0.1]
    """

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-MAX_MOVE, MAX_MOVE, (2,), np.float32)
    keys = ('goal',)

    def default_task(self):
        return {'goal': np.zeros(2)}

    def sample_tasks(self, n, rng):
        return [{'goal': goal} for goal in rng.uniform(-0.5, 0.5, (n, 2))]

    def set_tasks(self, tasks):
        self.goals = np.array([task['goal'] for task in tasks], dtype=np.float64)

    def reset(self):
        self.positions = np.zeros(self.goals.shape, dtype=np.float32)
        return self.positions.copy()

    def step(self, actions, rng):  # noqa: ARG002  nothing is drawn
        moves = np.clip(np.asarray(actions, dtype=np.float32), -MAX_MOVE, MAX_MOVE)
        self.positions = self.positions + moves
        gaps = self.positions - self.goals
        rewards = -np.sqrt((gaps**2).sum(axis=1))
        return self.positions.copy(), rewards, (np.abs(gaps) < REACHED).all(axis=1)

    def optimal_return(self, task):
        """Of the straight way, told the goal: no closer distance can be reached at any step."""
        gaps = np.abs(np.asarray(task['goal'], dtype=np.float64))
        steps = np.arange(1, N_STEPS + 1)[:, None]
        return -float(np.linalg.norm(np.maximum(gaps - MAX_MOVE * steps, 0), axis=1).sum())


class NavigationEnv(TaskEnv):
    """2DNavigation-v0."""

    def __init__(self):
        super().__init__(Navigation())
