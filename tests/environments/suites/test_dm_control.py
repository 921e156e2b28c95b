"""DeepMind Control's tasks in shared slots, with actions in [-1, 1]."""

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.support import golden
from trajectory.environments.suites.dm_control import WIDTHS, ScriptedPolicy, slots_of
from trajectory.environments.suites.making import make_suite_env
from trajectory.environments.suites.registry import DMC6, DMC10, find_task
from trajectory.utils.errors import InputError


def test_slots_are_the_originals():
    numbers = golden('continual/sequence')
    for episode in ('1_0', '1_1'):
        names = ('position', 'velocity', 'touch', 'target_position', 'dist_to_target')
        for t, expected in enumerate(numbers[f'raw/{episode}/slots']):
            observation = {name: numbers[f'raw/{episode}/{name}'][t] for name in names}
            assert np.array_equal(slots_of(observation), expected)
    assert sum(WIDTHS.values()) == 204


def test_what_has_no_slots_is_refused():
    with pytest.raises(InputError, match="no slots are known for the observation 'smell'"):
        slots_of({'smell': np.zeros(2)})
    with pytest.raises(InputError, match='height has 2 numbers, and its slots hold 1'):
        slots_of({'height': np.zeros(2)})


@pytest.mark.parametrize('name', [*DMC10, *DMC6])
def test_every_task_fits_its_slots_and_widths(name):
    pytest.importorskip('dm_control')
    env = make_suite_env(find_task(name))
    first, _ = env.reset(seed=4)
    assert first.shape == (204,)
    assert env.env.action_spec().shape == env.action_space.shape
    again, _ = env.reset(seed=4)
    assert np.array_equal(first, again)
    following, reward, *_ = env.step(np.ones(env.action_space.shape))
    assert np.isfinite(following).all()
    assert 0 <= reward <= 1


def test_gymnasiums_own_checks_pass():
    pytest.importorskip('dm_control')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        check_env(make_suite_env(find_task('reacher-easy')), skip_render_check=True)


@pytest.mark.parametrize(('name', 'least'), [('point_mass-easy', 700), ('reacher-easy', 900), ('cartpole-balance', 990),
                                             ('cartpole-swingup', 700)])  # fmt: skip
def test_controllers_reach_their_returns(name, least):
    pytest.importorskip('dm_control')
    task = find_task(name)
    env, policy = make_suite_env(task), ScriptedPolicy(task)
    env.reset(seed=1)
    total, steps, over = 0.0, 0, False
    while not over:
        _, reward, terminated, truncated, _ = env.step(policy.act(env))
        total, steps, over = total + reward, steps + 1, terminated or truncated
    assert total > least
    assert steps == 1000
    assert truncated


def test_a_task_without_a_controller_is_refused():
    with pytest.raises(InputError, match='no controller is known for walker-run'):
        ScriptedPolicy(find_task('walker-run'))
