"""Meta-World's tasks (Yu et al. 2020) as Gymnasium environments: a goal drawn for each episode, 200 steps.

The simulation is the `metaworld` package's. Its own `reset(seed=…)` is ignored there; here the seed draws the goal and
where objects lie. `-v3` is `-v2` on today's bindings of MuJoCo, with the rewards of version 2.
"""

from functools import cache

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajectory.environments.suites.registry import SuiteTask
from trajectory.utils.errors import InputError


class MetaWorldEnv(gymnasium.Env):
    """Observation [ 39 ]: hand and objects now and a step before, and the goal. Action [ 4 ]: hand's move, gripper.

    `info` has `success`, of the step alone: it may pass before the last.
    """

    def __init__(self, task: SuiteTask, render_mode: str | None = None):
        benchmark = _benchmark(task.name)
        self.task, self.render_mode = task, render_mode
        self.env = benchmark.train_classes[task.name](render_mode=render_mode, camera_name='corner2')
        self.env.set_task(benchmark.train_tasks[0])
        self.env._freeze_rand_vec = False  # which would keep the goal of that task
        self.env.seeded_rand_vec = True
        self.observation_space = Box(-np.inf, np.inf, (task.observation_dim,), np.float32)
        self.action_space = Box(-1, 1, (task.action_dim,), np.float32)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002  Gymnasium's signature
        super().reset(seed=seed)
        self.env.seed(int(self.np_random.integers(2**31)))
        observation, _ = self.env.reset()
        self.n_steps = 0
        self.raw_observation = observation
        return observation.astype(np.float32), {'success': False}

    def step(self, action):
        observation, reward, _, _, info = self.env.step(np.clip(action, -1, 1))
        self.n_steps += 1
        self.raw_observation = observation
        truncated = self.n_steps >= self.task.max_episode_steps
        success = bool(info['success'])
        return observation.astype(np.float32), float(reward), False, truncated, {'success': success}

    def render(self):
        return np.flipud(self.env.render())  # the camera hangs upside down

    def close(self):
        self.env.close()


class ScriptedPolicy:
    """The package's hand-written policy of a task: observation -> action, clipped to [-1, 1]."""

    def __init__(self, task: SuiteTask):
        _require()
        from metaworld.policies import ENV_POLICY_MAP

        self.policy = ENV_POLICY_MAP[task.name]()

    def act(self, env: MetaWorldEnv) -> np.ndarray:
        """The action that the policy takes now."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # that its constants are too high, which clipping takes care of
            action = self.policy.get_action(env.raw_observation)
        return np.clip(action, -1, 1).astype(np.float32)


@cache
def _benchmark(name):
    return _require().MT1(name, seed=0)


def _require():
    try:
        import metaworld
    except ModuleNotFoundError as error:
        raise InputError(
            'metaworld is not installed.\n  Install it: pip install -e ".[metaworld]" -c constraints.txt'
        ) from error
    return metaworld
