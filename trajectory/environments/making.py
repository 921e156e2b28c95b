"""Make a simulator from an environment's id and physics."""

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

from trajectory.environments.catalogue import is_task
from trajectory.environments.checks import check_physics, not_mujoco, unknown_environment
from trajectory.environments.offline import OfflineEnvironment, make_quietly
from trajectory.environments.physics import restore_mujoco_210
from trajectory.environments.robotics import make_task
from trajectory.utils.errors import InputError, shorten

MAX_EPISODE_STEPS = 1000
MAX_SETTING, MAX_FRAME_SKIP = 1e9, 1000
OF_PICTURES = {'render_mode', 'width', 'height', 'camera_id', 'camera_name', 'default_camera_config', 'max_geom'}


def make_environment(
    id: str,
    physics: str,
    name: str | None = None,
    settings: dict | None = None,
    references: tuple[float, float] | None = None,
):
    """An environment by its Gymnasium id.

    physics    : `d4rl` or `stock`
    name       : of the data it is asked for
    settings   : numbers to make it with, other than its own
    references : the returns that score 0 and 1, other than D4RL's
    """
    check_physics(id, physics)
    if physics == 'stock' and is_task(id):
        return make_task(id, name or id)
    env = _make_robot(id, settings or {})
    if physics == 'd4rl':
        _swap_physics(env.unwrapped)
    return OfflineEnvironment(env, name or id, physics, settings, references)


def _make_robot(id, settings):
    for key, value in settings.items():
        numbers = np.ravel(np.array(value, dtype=object))
        if key in OF_PICTURES or not all(isinstance(number, bool | int | float) for number in numbers):
            raise InputError(
                f'{id} is to be made with {key} = {shorten(value)!r}; only numbers can be set, and none of pictures.\n'
                '  Record the data with its own.'
            )
        limit = MAX_FRAME_SKIP if key == 'frame_skip' else MAX_SETTING
        if not all(-limit <= number <= limit for number in numbers):
            raise InputError(
                f'{id} is to be made with {key} = {shorten(value)}, expected numbers from {-limit:g} to {limit:g}.\n'
                '  Correct environment_settings.'
            )
    try:
        if ':' in id:  # Gymnasium would import the module before the colon: a file must not choose what runs
            raise gymnasium.error.NameNotFound('an id names no module')
        env = make_quietly(id, **{'max_episode_steps': MAX_EPISODE_STEPS, **settings})
    except (gymnasium.error.Error, ImportError, TypeError, ValueError, AssertionError) as error:
        raise unknown_environment(id, error) from error
    if not isinstance(env.unwrapped, MujocoEnv):
        raise not_mujoco(id)
    return env


def _swap_physics(robot: MujocoEnv):
    restore_mujoco_210(robot.model, robot.fullpath)
    mujoco.mj_resetData(robot.model, robot.data)
    mujoco.mj_forward(robot.model, robot.data)
