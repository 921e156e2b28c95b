"""Specification of an environment: what names it, without a simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from trajectory.environments.catalogue import is_task, reference_returns, widths_of
from trajectory.environments.checks import check_physics, not_mujoco, unknown_environment


@dataclass(frozen=True)
class EnvironmentSpec:
    """An environment, its physics and the returns that score 0 and 1.

    id          : Gymnasium's id, or D4RL's name of a maze or kitchen
    physics     : `d4rl` (MuJoCo 2.1.0's, as D4RL's data and scores) or `stock` (as installed)
    name        : of the dataset it belongs to, by which D4RL's reference returns are found; the id, if not given
    settings    : numbers to make it with, other than its own
    references  : the returns that score 0 and 1, where they are not D4RL's
    data_source : where the recorded data comes from, in words
    backend     : `mujoco`, or `d4rl` for D4RL's own environments, where they are installed
    """

    id: str
    physics: str = 'stock'
    name: str | None = None
    settings: Mapping = field(default_factory=dict)
    references: tuple[float, float] | None = None
    data_source: str | None = None
    backend: str = 'mujoco'

    def __post_init__(self):
        object.__setattr__(self, 'settings', MappingProxyType(dict(self.settings)))
        object.__setattr__(self, 'references', tuple(self.references) if self.references else None)
        if self.backend == 'mujoco':
            check_physics(self.id, self.physics)

    def check(self) -> 'EnvironmentSpec':
        """Raise InputError where Gymnasium does not know the id; nothing is simulated."""
        import gymnasium

        if self.backend == 'mujoco' and not is_task(self.id):
            try:
                if ':' in self.id:  # Gymnasium would import the module before the colon
                    raise gymnasium.error.NameNotFound('an id names no module')
                entry_point = str(gymnasium.spec(self.id).entry_point)
            except (gymnasium.error.Error, ImportError) as error:
                raise unknown_environment(self.id, error) from error
            if entry_point.startswith('gymnasium.envs.') and not entry_point.startswith('gymnasium.envs.mujoco'):
                raise not_mujoco(self.id)
        return self

    @property
    def widths(self) -> tuple[int, int] | None:
        """Columns of observations and actions, where they are known without a simulator."""
        return None if set(self.settings) - {'max_episode_steps'} else widths_of(self.id)

    def make(self):
        """The simulator, an `OfflineEnvironment`."""
        if self.backend == 'd4rl':
            from trajectory.environments.d4rl_gym import make_d4rl_environment

            return make_d4rl_environment(self.name or self.id)
        from trajectory.environments.making import make_environment  # which loads MuJoCo

        env = make_environment(
            self.id, self.physics, self.name, settings=dict(self.settings), references=self.references
        )
        env.data_source = self.data_source
        return env

    def normalized_score(self, episode_return: float) -> float | None:
        """0 is D4RL's random policy, 1 its expert; None where there are no reference returns."""
        low, high = self.references or reference_returns(self.name or self.id)
        if low is None:
            low, high = reference_returns(self.id)
        return None if low is None else (episode_return - low) / (high - low)

    def record(self) -> dict:
        """What `source.json` says of it."""
        own = {'environment_settings': dict(self.settings), 'reference_returns': self.references and [*self.references]}
        return {
            'environment': self.id,
            'physics': self.physics,
            'data_source': self.data_source,
            **{name: value for name, value in own.items() if value},
        }

    @classmethod
    def from_record(cls, record: Mapping, name: str | None = None, backend: str = 'mujoco') -> 'EnvironmentSpec':
        """The environment that `source.json` describes.    name : of the dataset it is asked for"""
        return cls(
            record['environment'],
            record['physics'],
            name,
            record.get('environment_settings') or {},
            record.get('reference_returns'),
            record.get('data_source'),
            backend,
        )
