"""Robots of D4RL as tasks of a suite: Gymnasium's simulations with MuJoCo 2.1.0's physics, as their data has."""

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajectory.environments.making import make_environment
from trajectory.environments.suites.registry import SuiteTask


class RobotEnv(gymnasium.Env):
    """Observation, action and reward of the Gymnasium id that the task is named by."""

    def __init__(self, task: SuiteTask, render_mode: str | None = None):
        self.task, self.render_mode = task, render_mode
        self.env = make_environment(task.name, 'd4rl')
        self.observation_space = Box(-np.inf, np.inf, (task.observation_dim,), np.float32)
        self.action_space = Box(-1, 1, (task.action_dim,), np.float32)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002  Gymnasium's signature
        super().reset(seed=seed)
        observation, _ = self.env.reset(seed=seed)
        return observation.astype(np.float32), {}

    def step(self, action):
        observation, reward, terminated, truncated, _ = self.env.step(np.clip(action, -1, 1))
        return observation.astype(np.float32), float(reward), terminated, truncated, {}

    def render(self):
        return self.env.robot.mujoco_renderer.render('rgb_array')

    def close(self):
        self.env.close()
