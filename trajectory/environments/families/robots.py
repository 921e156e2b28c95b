"""Robots of MuJoCo that run in a direction, at a speed or to a place (Finn, Abbeel and Levine 2017).

They move as Gymnasium's stock `-v5` simulations do (five substeps of 0.01 s, reset noise 0.1). Observations, rewards
and endings are those of the reference's environments: other numbers than `-v5` itself gives, and not the returns of
MuJoCo 1.5, in which the papers measured.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.spaces import Box

from trajectory.environments.families.batched import check_task


class _Tasks(ABC):
    """A robot whose reward depends on a task: `sample_tasks(n)` draws some, `reset_task(task)` sets one."""

    key: str  # of the task

    def _begin(self, width):
        self.observation_space = Box(-np.inf, np.inf, (width,), np.float32)
        self.reset_task(self.default_task())

    @abstractmethod
    def default_task(self) -> dict:
        """The task of an environment that has been told none."""

    @abstractmethod
    def _draw(self, n: int, rng) -> Iterable:
        """Values of n tasks."""

    def sample_tasks(self, n: int) -> list[dict]:
        """Draw n tasks by the environment's generator, `np_random`."""
        return [{self.key: value} for value in self._draw(n, self.np_random)]

    def reset_task(self, task: dict) -> None:
        """Act in this task from now on."""
        self.task = check_task(task, (self.key,))


class _HalfCheetahEnv(_Tasks, HalfCheetahEnv):
    """Observation [ 20 ]: positions but x, velocities, position of the torso. Action [ 6 ], clipped to [-1, 1]."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._begin(20)

    def _get_obs(self):
        parts = (self.data.qpos[1:], self.data.qvel, self.data.body('torso').xpos)
        return np.concatenate(parts).astype(np.float32)

    @abstractmethod
    def _reward_of_speed(self, speed) -> float:
        """speed : along x, m/s"""

    def step(self, action):
        action = np.clip(action, -1, 1)
        before = self.data.qpos[0]
        self.do_simulation(action, self.frame_skip)
        speed = (self.data.qpos[0] - before) / self.dt
        reward = self._reward_of_speed(speed) - 0.05 * np.square(action).sum()
        if self.render_mode == 'human':
            self.render()
        return self._get_obs(), float(reward), False, False, {'speed': float(speed)}


class HalfCheetahDirEnv(_HalfCheetahEnv):
    """HalfCheetahDir-v1: `direction`, 1 forwards or -1 backwards; the reward is the speed that way."""

    key = 'direction'

    def default_task(self):
        return {'direction': 1}

    def _draw(self, n, rng):
        return 2 * rng.binomial(1, 0.5, n) - 1

    def _reward_of_speed(self, speed):
        return self.task['direction'] * speed


class HalfCheetahVelEnv(_HalfCheetahEnv):
    """HalfCheetahVel-v1: `velocity`, uniform in [0, 2] m/s; the reward is minus the difference from it."""

    key = 'velocity'

    def default_task(self):
        return {'velocity': 0.0}

    def _draw(self, n, rng):
        return rng.uniform(0, 2, n)

    def _reward_of_speed(self, speed):
        return -abs(speed - self.task['velocity'])


class _AntEnv(_Tasks, AntEnv):
    """Observation [ 123 ]: positions but x and y, velocities, contact forces clipped to [-1, 1], the torso's rotation
    matrix and position. Action [ 8 ], clipped to [-1, 1]. An episode ends where the torso leaves [0.2, 1] m.

    The torso's position lags the joints' by a substep; the first difference after a reset spans four substeps.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._begin(123)

    def _get_obs(self):
        torso = self.data.body('torso')
        forces = np.clip(self.data.cfrc_ext, -1, 1)
        parts = (self.data.qpos[2:], self.data.qvel, forces.ravel(), torso.xmat, torso.xpos)
        return np.concatenate(parts).astype(np.float32)

    @abstractmethod
    def _goal_reward(self, position: np.ndarray, velocity: np.ndarray) -> float:
        """position, velocity : [ 2 ]  of the torso, m and m/s"""

    def step(self, action):
        action = np.clip(action, -1, 1)
        before = self.data.body('torso').xpos[:2].copy()
        self.do_simulation(action, self.frame_skip)
        after = self.data.body('torso').xpos[:2].copy()
        forces = np.clip(self.data.cfrc_ext, -1, 1)
        costs = 0.005 * np.square(action).sum() + 0.0005 * np.square(forces).sum()
        reward = self._goal_reward(after, (after - before) / self.dt) - costs + 0.05
        is_up = np.isfinite(self.state_vector()).all() and 0.2 <= self.data.qpos[2] <= 1
        if self.render_mode == 'human':
            self.render()
        return self._get_obs(), float(reward), not is_up, False, {'position': after}


class AntDirEnv(_AntEnv):
    """AntDir-v1: `direction`, 1 or -1; the reward is the speed along x that way."""

    key = 'direction'

    def default_task(self):
        return {'direction': 1}

    def _draw(self, n, rng):
        return 2 * rng.binomial(1, 0.5, n) - 1

    def _goal_reward(self, position, velocity):  # noqa: ARG002
        return self.task['direction'] * velocity[0]


class AntVelEnv(_AntEnv):
    """AntVel-v1: `velocity`, uniform in [0, 3] m/s along x; the reward is 1 minus the difference from it."""

    key = 'velocity'

    def default_task(self):
        return {'velocity': 0.0}

    def _draw(self, n, rng):
        return rng.uniform(0, 3, n)

    def _goal_reward(self, position, velocity):  # noqa: ARG002
        return 1 - abs(velocity[0] - self.task['velocity'])


class AntPosEnv(_AntEnv):
    """AntPos-v0: `position` [ 2 ], uniform in [-3, 3] m; the reward is 4 minus the L1 distance to it."""

    key = 'position'

    def default_task(self):
        return {'position': np.zeros(2)}

    def _draw(self, n, rng):
        return rng.uniform(-3, 3, (n, 2))

    def _goal_reward(self, position, velocity):  # noqa: ARG002
        return 4 - np.abs(position - self.task['position']).sum()
