"""The environment that everyone sees: a Gymnasium simulation with D4RL's attributes and scores."""

import warnings

import gymnasium
import numpy as np

from trajectory.environments.catalogue import reference_returns
from trajectory.utils.errors import InputError

D4RL_ANT_DIM = 111  # 27 real columns, and 84 contact forces that MuJoCo 2.1.0 always reported as zero


class OfflineEnvironment(gymnasium.Wrapper):
    """A Gymnasium environment that knows its data: D4RL's attributes on the five-part `step`.

    name       : the dataset it belongs to, or its own id
    physics    : `d4rl` (MuJoCo 2.1.0's, as D4RL's data and scores), or `stock` (as installed)
    id         : the Gymnasium id behind it
    settings   : what it was made with, where that is not its own
    references : the returns that score 0 and 1, where the dataset has its own

    `data_source` says in words where its recorded data comes from. Of mazes alone: `goal` is where to go, [ x, y ];
    `walls`, [ walls x 2 ], where the walls' centres are, and `wall_side` how wide they are.
    """

    data_source: str | None = None
    source = dataset_path = None  # the dataset it belongs to, an object with `get_dataset`
    shift: np.ndarray | float = 0.0  # of its x and y, from those of the simulation
    goal: np.ndarray | None = None
    walls: np.ndarray | None = None
    wall_side: float | None = None

    def __init__(
        self,
        env: gymnasium.Env,
        name: str,
        physics: str,
        settings: dict | None = None,
        references: tuple[float, float] | None = None,
    ):
        super().__init__(env)
        self.name = name
        self.physics = physics
        self.id = env.spec.id
        self.max_episode_steps = env.spec.max_episode_steps
        self.settings = settings or {}
        self.references = references
        is_d4rl_ant = self.id == 'Ant-v4' and physics == 'd4rl'
        self._padding = D4RL_ANT_DIM - env.observation_space.shape[0] if is_d4rl_ant else 0
        if self._padding:
            self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (D4RL_ANT_DIM,))

    @property
    def has_goals(self) -> bool:
        """Whether there is a place to reach, and `reset(options={'goal': 'random'})` draws another."""
        return self.walls is not None

    @property
    def robot(self):
        """The bare simulation, a `MujocoEnv`: model, data, and a step that no clock counts."""
        return self.unwrapped

    def reset(self, *, seed=None, options=None):
        observation, info = self.env.reset(seed=seed, options=options)
        return self._pad(observation), info

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._pad(observation), reward, terminated, truncated, info

    def _pad(self, observation):
        return np.pad(observation, (0, self._padding))

    def get_normalized_score(self, episode_return: float) -> float | None:
        """0 is D4RL's random policy, 1 its expert; None where there are no reference returns.

        A dataset with reference returns of its own is scored by those.
        """
        low, high = self.references or reference_returns(self.name)
        if low is None:
            low, high = reference_returns(self.id)
        return None if low is None else (episode_return - low) / (high - low)

    def get_dataset(self, h5path=None) -> dict[str, np.ndarray]:
        """The recorded steps of the dataset it belongs to, one row a step, episodes end to end.

        What is not on this machine, of D4RL's data or Minari's, is downloaded.
        """
        if self.source is None:
            raise InputError(f'{self.name} names no recorded data; pass a file: --dataset_path FILE.hdf5')
        return self.source.get_dataset(h5path)

    def state_vector(self) -> np.ndarray:
        """Positions, then velocities: what `set_state` takes apart."""
        return self.robot.state_vector()

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Put the robot into a state.    qpos : [ nq ]    qvel : [ nv ]"""
        self.robot.set_state(qpos, qvel)

    def observe(self) -> np.ndarray:
        """The observation of the present state, without a step."""
        return self._pad(self.robot._get_obs())


def make_quietly(id: str, **settings) -> gymnasium.Env:
    """`gymnasium.make`, less its advice to move to `-v5`, whose rewards are not D4RL's."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*out of date.*')
        return gymnasium.make(id, **settings)
