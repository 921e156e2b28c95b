"""2-D navigation moves and rewards as the reference's does."""

import numpy as np
import pytest

from tests.support import golden
from trajectory.environments.families.navigation import Navigation
from trajectory.environments.families.registry import find_family


@pytest.fixture(scope='module')
def numbers():
    return golden('meta/environments')


def test_goals_positions_rewards_and_ends_are_the_references(numbers):
    env = find_family('2DNavigation-v0').make()
    env.unwrapped.np_random = np.random.RandomState(int(numbers['seed']))
    tasks = env.unwrapped.sample_tasks(6)
    assert np.array_equal([task['goal'] for task in tasks], numbers['navigation/goals'])
    for k, task in enumerate(tasks):
        env.unwrapped.reset_task(task)
        env.reset()
        for t in range(numbers['navigation/lengths'][k]):
            observation, reward, terminated, truncated, _ = env.step(numbers['navigation/actions'][k, t])
            assert np.array_equal(observation, numbers['navigation/observations'][k, t + 1])
            assert reward == pytest.approx(numbers['navigation/rewards'][k, t], abs=1e-9)
            assert (terminated or truncated) == numbers['navigation/dones'][k, t]


def test_the_straight_way_is_the_best():
    family, goal = Navigation(), np.array([0.33, -0.48])
    family.set_tasks([{'goal': goal}])
    family.reset()
    total, ended = 0.0, False
    while not ended:
        _, rewards, ended = family.step(np.clip(goal - family.positions, -0.1, 0.1), None)
        total += rewards[0]
    assert total == pytest.approx(family.optimal_return({'goal': goal}), abs=1e-6)
