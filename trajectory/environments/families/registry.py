"""Know the task families by their ids, and register them with Gymnasium."""

from dataclasses import dataclass

from trajectory.utils.errors import InputError, did_you_mean

HERE = 'trajectory.environments.families'


@dataclass(frozen=True)
class FamilySpec:
    """A family of tasks, without a simulator.

    id                : of the environment in Gymnasium
    entry_point       : module:class of one environment
    max_episode_steps : where an episode is cut
    settings          : what the class is made with
    physics           : `stock`, of Gymnasium's `-v5` simulation in the installed MuJoCo; `exact`, of plain arithmetic
    """

    id: str
    entry_point: str
    max_episode_steps: int
    settings: tuple = ()
    physics: str = 'exact'

    @property
    def is_batched(self) -> bool:
        """Whether many environments are computed at once; MuJoCo simulates one at a time."""
        return self.physics == 'exact'

    def make(self, **kwargs):
        """One environment, a `gymnasium.Env` with `sample_tasks` and `reset_task`."""
        import gymnasium

        register()
        return gymnasium.make(self.id, disable_env_checker=True, **kwargs)


def _toy(id, entry_point, steps, **settings):
    return FamilySpec(id, f'{HERE}.{entry_point}', steps, tuple(settings.items()))


def _robot(id, name):
    return FamilySpec(id, f'{HERE}.robots:{name}', 200, physics='stock')


FAMILIES = {
    family.id: family
    for family in (
        _toy('2DNavigation-v0', 'navigation:NavigationEnv', 100),
        *(_toy(f'Bandit-K{k}-v0', 'bandits:BernoulliBanditEnv', 1, k=k) for k in (5, 10, 50)),
        *(_toy(f'GaussianBandit-K{k}-v0', 'bandits:GaussianBanditEnv', 1, k=k) for k in (5, 10, 50)),
        _toy('TabularMDP-v0', 'tabular:TabularMDPEnv', 10),
        _robot('HalfCheetahDir-v1', 'HalfCheetahDirEnv'),
        _robot('HalfCheetahVel-v1', 'HalfCheetahVelEnv'),
        _robot('AntDir-v1', 'AntDirEnv'),
        _robot('AntVel-v1', 'AntVelEnv'),
        _robot('AntPos-v0', 'AntPosEnv'),
    )
}


def find_family(id: str) -> FamilySpec:
    """The family of this id; InputError names the nearest where there is none."""
    if id not in FAMILIES:
        raise InputError(
            f'there is no family of tasks {id!r}.{did_you_mean(id, FAMILIES)}\n  There are {", ".join(FAMILIES)}.'
        )
    return FAMILIES[id]


def register() -> None:
    """Make `gymnasium.make(id)` know the families."""
    import gymnasium

    for family in FAMILIES.values():
        if family.id not in gymnasium.registry:
            gymnasium.register(
                family.id,
                entry_point=family.entry_point,
                max_episode_steps=family.max_episode_steps,
                kwargs=dict(family.settings),
            )
