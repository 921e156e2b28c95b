"""Environments computed in one batch are those that Gymnasium steps one by one."""

import numpy as np
import pytest

from trajectory.environments.families.batched import check_task
from trajectory.environments.families.navigation import Navigation
from trajectory.environments.families.registry import find_family
from trajectory.utils.errors import InputError


def test_a_batch_does_what_its_environments_do_alone():
    family, rng = Navigation(), np.random.default_rng(0)
    tasks = family.sample_tasks(4, rng)
    actions = rng.normal(size=(30, 4, 2))
    family.set_tasks(tasks)
    family.reset()
    batch = [family.step(moves, None) for moves in actions]
    for k, task in enumerate(tasks):
        env = find_family('2DNavigation-v0').make()
        env.unwrapped.reset_task(task)
        env.reset(seed=0)
        for t in range(30):
            observation, reward, terminated, _, _ = env.step(actions[t, k])
            assert np.array_equal(observation, batch[t][0][k])
            assert reward == batch[t][1][k]
            assert terminated == batch[t][2][k]


def test_tasks_draw_different_rewards_in_one_batch():
    family = find_family('Bandit-K50-v0').make().unwrapped.family
    family.set_tasks([{'mean': np.full(50, mean)} for mean in (0.0, 1.0, 0.5)] * 100)
    family.reset()
    _, rewards, ended = family.step(np.zeros(300, dtype=int), np.random.default_rng(0))
    assert ended.all()
    of_tasks = rewards.reshape(100, 3).mean(0)
    assert of_tasks[:2].tolist() == [0, 1]
    assert 0.3 < of_tasks[2] < 0.7


@pytest.mark.parametrize('task', [{}, {'goals': [0, 0]}, {'goal': [0, np.nan]}, None])
def test_a_task_of_another_family_is_refused(task):
    with pytest.raises(InputError, match='expected a dict of finite numbers: goal'):
        check_task(task, ('goal',))
