"""Simulators from ids: what Gymnasium cannot make, and settings that are no numbers."""

import pytest

from trajectory.environments.making import make_environment
from trajectory.utils.errors import InputError


def test_settings_of_the_environment_are_applied():
    env = make_environment('Hopper-v4', 'stock', settings={'max_episode_steps': 7, 'reset_noise_scale': 0.0})
    assert (env.max_episode_steps, env.settings) == (7, {'max_episode_steps': 7, 'reset_noise_scale': 0.0})
    assert (env.reset(seed=0)[0] == env.reset(seed=1)[0]).all()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'frame_skip': 'many'}, "is to be made with frame_skip = 'many'; only numbers can be set"),
        ({'no_such': 1}, "'Hopper-v4' is not an environment that Gymnasium can make here"),
    ],
)
def test_settings_that_it_cannot_be_made_with_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        make_environment('Hopper-v4', 'stock', settings=settings)


def test_the_physics_are_the_ones_asked_for():
    masses = {
        physics: make_environment('Hopper-v4', physics).robot.model.body_mass.sum() for physics in ('d4rl', 'stock')
    }
    assert masses['d4rl'] != masses['stock']
