"""Environments of the suites are made by their packages."""

import pytest

from trajectory.environments.suites.making import make_suite_env
from trajectory.environments.suites.registry import find_task


@pytest.mark.parametrize(
    ('name', 'package'), [('reach-v3', 'metaworld'), ('reacher-easy', 'dm_control'), ('Walker2d-v4', 'mujoco')]
)
def test_an_environment_has_the_widths_of_its_task(name, package):
    pytest.importorskip(package)
    task = find_task(name)
    env = make_suite_env(task)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (task.observation_dim,)
    assert env.action_space.shape == (task.action_dim,)
    env.close()
