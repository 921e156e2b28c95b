"""Families that are computed for many environments at once, and one of those environments for Gymnasium."""

from abc import ABC, abstractmethod

import gymnasium
import numpy as np

from trajectory.utils.errors import InputError


class BatchedFamily(ABC):
    """N environments side by side, each with its task.

    A generator `rng` has NumPy's methods `random`, `normal`, `uniform`, `binomial`, `dirichlet`: a `Generator`, or the
    `RandomState` of the reference.
    """

    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.Space
    keys: tuple[str, ...]  # of a task

    @abstractmethod
    def default_task(self) -> dict:
        """The task of an environment that has been told none."""

    @abstractmethod
    def sample_tasks(self, n: int, rng) -> list[dict]:
        """Draw n tasks."""

    @abstractmethod
    def set_tasks(self, tasks: list[dict]) -> None:
        """Give each of N environments its task."""

    @abstractmethod
    def reset(self) -> np.ndarray:
        """Begin N episodes.    returns : observations [ N x o ], float32"""

    @abstractmethod
    def step(self, actions: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a step in each.

        actions : [ N x a ], or [ N ] whole numbers
        returns : observations [ N x o ], rewards [ N ], and which episodes have ended [ N ]
        """

    @abstractmethod
    def optimal_return(self, task: dict) -> float | None:
        """The greatest expected return of an episode, where it is known."""


class TaskEnv(gymnasium.Env):
    """One environment of a family: `sample_tasks(n)` draws tasks, `reset_task(task)` sets the one that is acted in."""

    def __init__(self, family: BatchedFamily):
        self.family = family
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.reset_task(family.default_task())

    def sample_tasks(self, n: int) -> list[dict]:
        """Draw n tasks by the environment's generator, `np_random`."""
        return self.family.sample_tasks(n, self.np_random)

    def reset_task(self, task: dict) -> None:
        """Act in this task from now on."""
        self.task = check_task(task, self.family.keys)
        self.family.set_tasks([task])
        self.family.reset()

    def reset(self, *, seed=None, options=None):  # noqa: ARG002  Gymnasium's signature
        super().reset(seed=seed)
        return self.family.reset()[0], {}

    def step(self, action):
        observations, rewards, ended = self.family.step(np.asarray(action)[None], self.np_random)
        return observations[0], float(rewards[0]), bool(ended[0]), False, {}


def check_task(task: dict, keys: tuple[str, ...]) -> dict:
    """Return the task, if it has these keys and finite numbers."""
    if not isinstance(task, dict) or set(task) != set(keys) or not all(np.isfinite(task[key]).all() for key in keys):
        raise InputError(
            f'{str(task)[:100]} is no task of this family, expected a dict of finite numbers: {", ".join(keys)}.\n'
            '  Take one that sample_tasks returns.'
        )
    return task
