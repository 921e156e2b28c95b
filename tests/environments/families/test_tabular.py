"""Tabular MDPs draw, move and pay as the reference's do, and their optima are exact."""

import numpy as np
import pytest

from tests.support import golden
from trajectory.environments.families.registry import find_family
from trajectory.environments.families.tabular import TabularMDP, value_iteration, value_iteration_finite_horizon


@pytest.fixture(scope='module')
def numbers():
    return golden('meta/environments')


@pytest.fixture(scope='module')
def tasks(numbers):
    return TabularMDP().sample_tasks(2, np.random.RandomState(int(numbers['seed'])))


def test_tasks_states_and_rewards_are_the_references(numbers, tasks):
    assert np.array_equal([task['transitions'] for task in tasks], numbers['tabular/transitions'])
    assert np.array_equal([task['rewards_mean'] for task in tasks], numbers['tabular/rewards_mean'])
    env = find_family('TabularMDP-v0').make()
    env.unwrapped.np_random = np.random.RandomState(int(numbers['seed']) + 1)
    for k, task in enumerate(tasks):
        env.unwrapped.reset_task(task)
        for episode in range(4):
            observation, _ = env.reset()
            assert observation.argmax() == 0
            for t in range(10):
                observation, reward, terminated, truncated, _ = env.step(numbers['tabular/actions'][k, episode, t])
                assert observation.sum() == 1
                assert observation.argmax() == numbers['tabular/states'][k, episode, t + 1]
                assert reward == pytest.approx(numbers['tabular/rewards'][k, episode, t], abs=1e-9)
                assert not terminated
                assert truncated == numbers['tabular/dones'][k, episode, t]


def test_optima_are_the_references(numbers, tasks):
    for k, task in enumerate(tasks):
        assert value_iteration(**task) == pytest.approx(numbers['tabular/optimal_values_gamma_0.95'][k], abs=1e-7)
        finite = value_iteration_finite_horizon(**task, horizon=10, gamma=1.0)
        assert finite == pytest.approx(numbers['tabular/optimal_values_10_steps_gamma_1'][k], abs=1e-9)
        assert TabularMDP().optimal_return(task) == finite[0]


def test_discounted_optima_solve_bellmans_equations(tasks):
    transitions, means = tasks[0]['transitions'], tasks[0]['rewards_mean']
    values = value_iteration(transitions, means, gamma=0.9)
    best, states = (means + 0.9 * transitions @ values).argmax(1), np.arange(10)
    exact = np.linalg.solve(np.eye(10) - 0.9 * transitions[states, best], means[states, best])
    assert values == pytest.approx(exact, abs=1e-9)
