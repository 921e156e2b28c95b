"""Plan where D4RL itself ran: its environments of gym, d4rl and mujoco_py, on MuJoCo 2.1.0, where they are installed.

environment.yml says how. Nothing else in the project imports them, and this module only when it makes an environment.
"""

import contextlib
import importlib
import os
import warnings

import numpy as np

from trajectory.environments.catalogue import ROBOTS
from trajectory.utils.errors import InputError

PARTS = {  # of d4rl, that know these names; `import d4rl` alone stops, and says nothing, at the first that is missing
    'hopper': 'gym_mujoco',
    'halfcheetah': 'gym_mujoco',
    'walker2d': 'gym_mujoco',
    'ant': 'gym_mujoco',
    'maze2d': 'pointmaze',
    'antmaze': 'locomotion',
    'kitchen': 'kitchen',
}


@contextlib.contextmanager
def suppress_output():
    """Silence what is printed, by compiled code too, for as long as this lasts."""
    with open(os.devnull, 'w') as nowhere, contextlib.ExitStack() as stack:
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, descriptor)
            os.dup2(nowhere.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield


class D4RLEnvironment:
    """One of D4RL's own environments, used like an `OfflineEnvironment`, but neither drawn nor given other goals.

    env : of gym 0.23, whose `reset` returns an observation, and whose `step` four parts
    """

    physics = 'd4rl'
    settings = references = None  # other than D4RL's
    has_goals = False
    robot = None
    source = dataset_path = None  # the dataset it belongs to, an object with `get_dataset`

    def __init__(self, env, name: str):
        self.env = env
        self.name = name
        robot = name.split('-', 1)[0]
        self.id = f'{ROBOTS[robot]}-v4' if robot in ROBOTS else name  # what stands for it where this is not installed
        self.max_episode_steps = env.spec.max_episode_steps
        self.data_source = f'D4RL {name}'
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self, *, seed=None, options=None):  # noqa: ARG002  there are none
        if seed is not None:
            robot = self.env.unwrapped
            getattr(robot, 'wrapped_env', robot).seed(seed)  # which gym does not unwrap
            np.random.seed(seed)  # noqa: NPY002  antmaze draws its goals from it
        with suppress_output():  # and prints them
            return self.env.reset(), {}

    def step(self, action):
        observation, reward, done, info = self.env.step(action)
        truncated = bool(info.get('TimeLimit.truncated', False))
        return observation, float(reward), bool(done and not truncated), truncated, info

    def get_normalized_score(self, episode_return: float) -> float:
        """0 is D4RL's random policy, 1 its expert."""
        return self.env.get_normalized_score(episode_return)

    def get_dataset(self, h5path=None) -> dict[str, np.ndarray]:
        """The recorded steps of the dataset it belongs to."""
        return self.source.get_dataset(h5path)

    def state_vector(self) -> np.ndarray:
        return self.env.unwrapped.state_vector()

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        self.env.unwrapped.set_state(qpos, qvel)

    def observe(self) -> np.ndarray:
        return self.env.unwrapped._get_obs()


def make_d4rl_environment(name: str) -> D4RLEnvironment:
    """One of D4RL's own environments.    name : as D4RL registers it, `hopper-medium-v2`"""
    part = PARTS.get(name.split('-', 1)[0])
    if part is None:
        raise InputError(
            f"'{name}' is no environment of D4RL's, and --backend d4rl has no others.\n"
            '  Leave out --backend, or name one: --dataset hopper-medium-v2.'
        )
    try:
        with suppress_output(), warnings.catch_warnings():  # mujoco_py compiles itself the first time
            warnings.simplefilter('ignore')
            gym = importlib.import_module('gym')
            gym.logger.set_level(gym.logger.ERROR)
            importlib.import_module(f'd4rl.{part}')
            env = gym.make(name)
    except Exception as error:  # mujoco_py raises a bare Exception where MuJoCo or a header is missing
        raise InputError(
            f'--backend d4rl cannot make {name} here: {type(error).__name__}: {error}\n'
            '  It needs gym, d4rl and mujoco_py: environment.yml says how. Or leave out --backend.'
        ) from error
    return D4RLEnvironment(env, name)
