"""Meta-World's tasks: seeds draw the goal, episodes have 200 steps, scripted policies succeed."""

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from trajectory.environments.suites.making import make_suite_env
from trajectory.environments.suites.registry import find_task

pytest.importorskip('metaworld')


@pytest.fixture(scope='module')
def env():
    return make_suite_env(find_task('reach-v3'))


def test_the_seed_draws_the_goal(env):
    goals = []
    for seed in (0, 1, 0):
        env.reset(seed=seed)
        goals.append(env.env._target_pos.copy())
    assert np.array_equal(goals[0], goals[2])
    assert not np.allclose(goals[0], goals[1])
    env.reset()
    assert not np.allclose(env.env._target_pos, goals[2])


def test_gymnasiums_own_checks_pass(env):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        check_env(env, skip_render_check=True)


def test_an_episode_is_cut_at_200_steps_and_tells_success(env):
    from trajectory.environments.suites.metaworld import ScriptedPolicy

    policy = ScriptedPolicy(env.task)
    observation, info = env.reset(seed=3)
    assert observation.shape == (39,)
    assert info == {'success': False}
    steps = [env.step(policy.act(env))[1:] for _ in range(200)]
    assert [truncated for _, _, truncated, _ in steps] == 199 * [False] + [True]
    assert all(isinstance(reward, float) for reward, *_ in steps)
    assert steps[-1][3]['success'] is True
    assert steps[0][3]['success'] is False


def test_actions_are_clipped(env):
    ends = []
    for action in (np.full(4, 5.0), np.ones(4)):
        env.reset(seed=0)
        ends.append(env.step(action)[0])
    assert np.array_equal(*ends)


def test_a_frame_is_the_right_way_up():
    env = make_suite_env(find_task('drawer-open-v3'), render_mode='rgb_array')
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (480, 480, 3)
    assert np.ptp(frame) > 100
    env.close()
