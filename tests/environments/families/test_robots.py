"""Robots with tasks observe, pay and end as the reference's do, in Gymnasium's stock simulation."""

import gymnasium
import mujoco
import numpy as np
import pytest

from tests.support import golden
from trajectory.environments.families.registry import FAMILIES, find_family

ROBOTS = {
    'HalfCheetahDir-v1': 'cheetah',
    'HalfCheetahVel-v1': 'cheetah',
    'AntDir-v1': 'ant',
    'AntVel-v1': 'ant',
    'AntPos-v0': 'ant',
}


@pytest.mark.parametrize('id', ROBOTS)
def test_observations_rewards_and_ends_are_the_references(id):
    numbers, robot = golden('meta/environments'), ROBOTS[id]
    env = find_family(id).make().unwrapped
    env.reset(seed=0)
    ends = 0
    for k, value in enumerate(numbers[f'{robot}/{id}']):
        env.reset_task({env.key: value})
        mujoco.mj_resetData(env.model, env.data)
        env.set_state(numbers[f'{robot}/qpos'][k], numbers[f'{robot}/qvel'][k])
        for t in range(2):
            observation, reward, terminated, _, _ = env.step(numbers[f'{robot}/actions'][k, t])
            assert observation == pytest.approx(numbers[f'{robot}/observations'][k, t], abs=1e-5)
            assert reward == pytest.approx(numbers[f'{robot}/{id}_rewards'][k, t], abs=1e-6)
            assert terminated == numbers[f'{robot}/dones'][k, t]
            ends += terminated
    assert bool(ends) == (robot == 'ant')


@pytest.mark.parametrize(('id', 'stock'), [('HalfCheetahVel-v1', 'HalfCheetah-v5'), ('AntPos-v0', 'Ant-v5')])
def test_an_episode_begins_as_the_stock_simulation_does(id, stock):
    ours, theirs = find_family(id).make(), gymnasium.make(stock)
    ours.reset(seed=3)
    theirs.reset(seed=3)
    assert np.array_equal(ours.unwrapped.data.qpos, theirs.unwrapped.data.qpos)
    assert np.array_equal(ours.unwrapped.data.qvel, theirs.unwrapped.data.qvel)
    for _ in range(5):
        action = theirs.action_space.sample()
        ours.step(action)
        theirs.step(action)
    assert np.array_equal(ours.unwrapped.data.qpos, theirs.unwrapped.data.qpos)


@pytest.mark.parametrize('id', ROBOTS)
def test_tasks_are_drawn_from_their_ranges(id):
    env = find_family(id).make().unwrapped
    env.reset(seed=0)
    values = np.array([task[env.key] for task in env.sample_tasks(200)])
    low, high = {'direction': (-1, 1), 'position': (-3, 3)}.get(env.key, (0, 3 if 'Ant' in id else 2))
    assert low <= values.min() < low + 0.2
    assert high - 0.2 < values.max() <= high
    if env.key == 'direction':
        assert set(values) == {-1, 1}


def test_episodes_are_cut_at_200_steps():
    env = find_family('HalfCheetahDir-v1').make()
    env.reset(seed=0)
    ends = [env.step(np.zeros(6))[2:4] for _ in range(200)]
    assert ends[-1] == (False, True)
    assert set(ends[:-1]) == {(False, False)}


def test_robots_are_listed():
    assert {id for id, family in FAMILIES.items() if not family.is_batched} == set(ROBOTS)
