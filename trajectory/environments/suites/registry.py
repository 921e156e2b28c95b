"""Know the tasks of the suites by their names, without a simulator.

Meta-World's 50 tasks are split as in Continual World and L2M: ten to fine-tune on, in order, forty to pre-train on.
DeepMind Control's sixteen: ten to pre-train on, six to fine-tune on. D4RL's robots are a suite of their own.
"""

from dataclasses import dataclass

from trajectory.environments.catalogue import reference_returns, widths_of
from trajectory.utils.errors import InputError, did_you_mean

MT40 = tuple(
    f'{name}-v3'
    for name in """
    assembly basketball bin-picking box-close button-press button-press-topdown button-press-topdown-wall
    button-press-wall coffee-button coffee-pull coffee-push dial-turn disassemble door-close door-lock door-open
    door-unlock drawer-close drawer-open faucet-open hand-insert handle-press handle-pull handle-pull-side
    lever-pull peg-insert-side pick-out-of-hole pick-place pick-place-wall plate-slide plate-slide-back
    plate-slide-back-side plate-slide-side reach reach-wall soccer stick-push sweep sweep-into window-open
    """.split()
)
CW10 = tuple(
    f'{name}-v3'
    for name in """
    hammer push-wall faucet-close push-back stick-pull handle-press-side push shelf-place window-close
    peg-unplug-side
    """.split()
)
# (actions, return of random actions, mean return of the data that L2M's scores are normalized by)
DMC10 = {
    'cartpole-balance': (1, 350.391, 938.506),
    'finger-turn_easy': (2, 57.8, 800.645),
    'finger-turn_hard': (2, 40.6, 676.144),
    'fish-upright': (5, 229.406, 547.962),
    'hopper-stand': (4, 1.296, 266.783),
    'pendulum-swingup': (1, 0.0, 614.491),
    'point_mass-easy': (2, 1.341, 779.273),
    'reacher-hard': (2, 8.0, 779.947),
    'walker-stand': (6, 134.701, 816.322),
    'walker-run': (6, 23.427, 344.794),
}
DMC6 = {
    'ball_in_cup-catch': (2, 0.0, 926.719),
    'cartpole-swingup': (1, 27.414, 766.15),
    'cheetah-run': (6, 3.207, 324.045),
    'finger-spin': (2, 0.2, 834.629),
    'reacher-easy': (2, 33.0, 849.241),
    'walker-walk': (6, 30.193, 773.174),
}
ROBOTS = ('Hopper-v4', 'HalfCheetah-v4', 'Walker2d-v4')
SPLITS = {'mt40': MT40, 'cw10': CW10, 'dmc10': tuple(DMC10), 'dmc6': tuple(DMC6), 'd4rl': ROBOTS}


@dataclass(frozen=True)
class SuiteTask:
    """A task of a suite.

    name              : as the suite calls it
    suite             : `metaworld` or `dm_control`, the package that simulates it; or `d4rl`
    observation_dim   : columns of observations; DeepMind Control's lie in slots that all its tasks share
    action_dim        : columns of actions, in [-1, 1]
    max_episode_steps : where an episode is cut
    references        : returns that score 0 and 1, where success is not the score
    """

    name: str
    suite: str
    observation_dim: int
    action_dim: int
    max_episode_steps: int
    references: tuple[float, float] | None = None

    @property
    def has_success(self) -> bool:
        """Whether the score is success."""
        return self.references is None


TASKS = {
    **{name: SuiteTask(name, 'metaworld', 39, 4, 200) for name in (*MT40, *CW10)},
    **{
        name: SuiteTask(name, 'dm_control', 204, actions, 1000, (low, high))
        for name, (actions, low, high) in {**DMC10, **DMC6}.items()
    },
    **{name: SuiteTask(name, 'd4rl', *widths_of(name), 1000, reference_returns(name)) for name in ROBOTS},
}


def find_task(name: str) -> SuiteTask:
    """The task of this name; InputError names the nearest where there is none."""
    if name not in TASKS:
        raise InputError(
            f'no suite has a task {name!r}.{did_you_mean(name, TASKS)}'
            f'\n  There are {", ".join(TASKS)}; or a split of them: {", ".join(SPLITS)}.'
        )
    return TASKS[name]


def expand_tasks(names: list[str]) -> list[SuiteTask]:
    """The tasks of these names, which may be joined by commas; splits are written out, and each is there once."""
    parts = [part for name in names for part in name.split(',') if part]
    written = [one for part in parts for one in SPLITS.get(part, (part,))]
    if not written:
        raise InputError(f'no task is named.\n  Pass --tasks reach-v3, say, or a split: {", ".join(SPLITS)}.')
    return [find_task(name) for name in dict.fromkeys(written)]
