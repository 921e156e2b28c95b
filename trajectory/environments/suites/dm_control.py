"""DeepMind Control's tasks (Tassa et al. 2018) as Gymnasium environments: 1000 steps, actions in [-1, 1].

Each named observation has its place in 204 slots that all tasks share, as in L2M; the other slots are 0. So one
network reads the states of every task.
"""

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajectory.environments.suites.registry import SuiteTask
from trajectory.utils.errors import InputError

WIDTHS = {  # of the named observations, in the order of their slots
    'orientations': 14,
    'velocity': 27,
    'position': 8,
    'touch': 5,
    'target_position': 2,
    'dist_to_target': 1,
    'joint_angles': 21,
    'upright': 1,
    'target': 3,
    'head_height': 1,
    'extremities': 12,
    'torso_vertical': 3,
    'com_velocity': 3,
    'arm_pos': 16,
    'arm_vel': 8,
    'hand_pos': 4,
    'object_pos': 4,
    'object_vel': 3,
    'target_pos': 4,
    'orientation': 2,
    'to_target': 2,
    'joints': 14,
    'body_velocities': 45,
    'height': 1,
}
N_SLOTS = 204


def slots_of(observation: dict) -> np.ndarray:
    """Named observations in their slots.    observation : name -> numbers    returns : [ 204 ], float32"""
    slots, start = np.zeros(N_SLOTS, dtype=np.float32), 0
    for name, width in WIDTHS.items():
        if name in observation:
            values = np.ravel(observation[name])
            if len(values) > width:
                raise InputError(f'{name} has {len(values)} numbers, and its slots hold {width}.')
            slots[start : start + len(values)] = values
        start += width
    if unknown := sorted(set(observation) - set(WIDTHS)):
        raise InputError(f'no slots are known for the observation {unknown[0]!r}; there are {", ".join(WIDTHS)}.')
    return slots


class DMControlEnv(gymnasium.Env):
    """Observation [ 204 ]: slots. Action: of the task, scaled from [-1, 1] to its bounds."""

    def __init__(self, task: SuiteTask, render_mode: str | None = None):
        self.task, self.render_mode = task, render_mode
        self.domain, self.name = task.name.split('-')
        self.observation_space = Box(-np.inf, np.inf, (task.observation_dim,), np.float32)
        self.action_space = Box(-1, 1, (task.action_dim,), np.float32)
        self.env = None

    def reset(self, *, seed=None, options=None):  # noqa: ARG002  Gymnasium's signature
        super().reset(seed=seed)
        suite = _require()
        if self.env is None or seed is not None:
            random = np.random.RandomState(int(self.np_random.integers(2**31)))
            self.env = suite.load(self.domain, self.name, task_kwargs={'random': random})
            spec = self.env.action_spec()
            self.low, self.high = spec.minimum, spec.maximum
        self.raw_observation = self.env.reset().observation
        return slots_of(self.raw_observation), {}

    def step(self, action):
        scaled = self.low + (np.clip(action, -1, 1) + 1) / 2 * (self.high - self.low)
        step = self.env.step(scaled)
        self.raw_observation = step.observation
        terminated = step.last() and step.discount == 0
        return slots_of(step.observation), float(step.reward), terminated, step.last() and not terminated, {}

    def render(self):
        return self.env.physics.render(480, 480, camera_id=0)


class ScriptedPolicy:
    """Controllers of four tasks, written by hand: mean returns of 787 to 1000."""

    def __init__(self, task: SuiteTask):
        if task.name not in CONTROLLERS:
            raise InputError(
                f'no controller is known for {task.name}; there are those of {", ".join(CONTROLLERS)}.\n'
                '  Record it with an agent that you trained.'
            )
        self.control = CONTROLLERS[task.name]

    def act(self, env: DMControlEnv) -> np.ndarray:
        """The action that the controller takes now."""
        return np.clip(self.control(env.raw_observation, env.env.physics), -1, 1).astype(np.float32)


def _point_mass(observation, physics):  # noqa: ARG001
    return -10 * observation['position'] - 3 * observation['velocity']


def _reacher(observation, physics):
    first, both = physics.named.data.qpos[0], physics.named.data.qpos.sum()
    length = 0.12  # of each link, m
    jacobian = length * np.array(
        [[-np.sin(first) - np.sin(both), -np.sin(both)], [np.cos(first) + np.cos(both), np.cos(both)]]
    )
    inverse = np.linalg.inv(jacobian @ jacobian.T + 0.001 * np.eye(2))
    return 4 * jacobian.T @ inverse @ observation['to_target'] - 0.6 * observation['velocity']


def _cartpole(physics):
    (x, angle), (speed, turn) = physics.data.qpos, physics.data.qvel
    return x, angle, speed, turn


def _balance(observation, physics):  # noqa: ARG001
    x, angle, speed, turn = _cartpole(physics)
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    return np.array([0.5 * x + 0.75 * speed + 5 * angle + turn])


def _swing_up(observation, physics):
    x, angle, speed, turn = _cartpole(physics)
    if np.cos(angle) > 0.85:
        return _balance(observation, physics)
    energy = turn**2 / 29.4 + np.cos(angle) - 1
    return np.array([energy * turn * np.cos(angle) - 0.3 * x - 0.06 * speed])


CONTROLLERS = {
    'point_mass-easy': _point_mass,
    'reacher-easy': _reacher,
    'cartpole-balance': _balance,
    'cartpole-swingup': _swing_up,
}


def _require():
    try:
        from dm_control import suite
    except ModuleNotFoundError as error:
        raise InputError(
            'dm_control is not installed.\n  Install it: pip install -e ".[dm_control]" -c constraints.txt'
        ) from error
    return suite
