"""Robots of D4RL as tasks: the same simulation as the environment of their data, and pictures of it."""

import numpy as np
import pytest

from trajectory.environments.making import make_environment
from trajectory.environments.suites.making import make_suite_env
from trajectory.environments.suites.registry import ROBOTS, expand_tasks


@pytest.mark.parametrize('task', expand_tasks(['d4rl']), ids=ROBOTS)
def test_a_robot_moves_and_is_paid_as_in_its_data(task):
    env, expected = make_suite_env(task), make_environment(task.name, 'd4rl')
    assert np.array_equal(env.reset(seed=3)[0], expected.reset(seed=3)[0].astype(np.float32))
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(-1, 1, task.action_dim).astype(np.float32)
        seen, reward, terminated, truncated, _ = env.step(action)
        other = expected.step(action)
        assert np.array_equal(seen, other[0].astype(np.float32))
        assert (reward, terminated, truncated) == (float(other[1]), *other[2:4])
        if terminated:
            break
    assert not task.has_success
    env.close()


def test_a_robot_is_drawn():
    env = make_suite_env(expand_tasks(['Hopper-v4'])[0], 'rgb_array')
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape[2] == 3
    assert frame.std() > 10
    env.close()
