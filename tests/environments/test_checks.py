"""What cannot be simulated here is refused, without a simulator."""

import pytest

from trajectory.environments.checks import check_physics
from trajectory.environments.spec import EnvironmentSpec
from trajectory.utils.errors import InputError


@pytest.mark.parametrize(
    ('id', 'physics', 'message'),
    [
        ('Hopper-v4', 'mujoco', "unknown physics 'mujoco' for Hopper-v4; there are: d4rl, stock"),
        ('Humanoid-v4', 'd4rl', 'Humanoid-v4 has no D4RL physics; Hopper-v4, HalfCheetah-v4'),
    ],
)
def test_physics_that_an_environment_does_not_have_are_refused(id, physics, message):
    with pytest.raises(InputError, match=message):
        check_physics(id, physics)
    with pytest.raises(InputError, match=message):
        EnvironmentSpec(id, physics)


@pytest.mark.parametrize(
    ('id', 'message'),
    [
        ('Hoper-v4', "'Hoper-v4' is not an environment that Gymnasium can make here"),
        ('os:Hopper-v4', 'an id names no module'),
        ('CartPole-v1', "'CartPole-v1' is no robot of MuJoCo's"),
    ],
)
def test_an_id_that_cannot_be_simulated_is_refused(id, message):
    with pytest.raises(InputError, match=message):
        EnvironmentSpec(id).check()
