"""Bandits draw and pay as the reference's do."""

import gymnasium
import numpy as np
import pytest

from tests.support import golden
from trajectory.environments.families.registry import register


@pytest.mark.parametrize(('id', 'kind'), [('Bandit-K5-v0', 'bernoulli'), ('GaussianBandit-K5-v0', 'gaussian')])
def test_means_and_rewards_are_the_references(id, kind):
    numbers = golden('meta/environments')
    register()
    env = gymnasium.make(id, **({'std': float(numbers['bandit/gaussian_std'])} if kind == 'gaussian' else {}))
    env.unwrapped.np_random = np.random.RandomState(int(numbers['seed']))
    tasks = env.unwrapped.sample_tasks(3)
    assert np.array_equal([task['mean'] for task in tasks], numbers['bandit/means'])
    env.unwrapped.np_random = np.random.RandomState(int(numbers['seed']) + 1)
    for k, task in enumerate(tasks):
        env.unwrapped.reset_task(task)
        for action, expected in zip(numbers['bandit/actions'][k], numbers[f'bandit/{kind}_rewards'][k], strict=True):
            env.reset()
            observation, reward, terminated, _, _ = env.step(action)
            assert observation == [0]
            assert terminated
            assert reward == pytest.approx(expected, abs=1e-9)


def test_the_best_arm_is_the_optimum():
    env = gymnasium.make('Bandit-K10-v0')
    assert env.action_space.n == 10
    (task,) = env.unwrapped.sample_tasks(1)
    assert env.unwrapped.family.optimal_return(task) == task['mean'].max()
