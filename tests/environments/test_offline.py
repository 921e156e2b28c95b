"""The environments that plans act in: D4RL's attributes, its scores, and its ants of 111 columns."""

import numpy as np
import pytest

from trajectory.environments.making import MAX_EPISODE_STEPS, make_environment
from trajectory.environments.offline import D4RL_ANT_DIM
from trajectory.utils.errors import InputError


@pytest.fixture(scope='module')
def hopper():
    return make_environment('Hopper-v4', 'd4rl', 'hopper-medium-v2')


def test_a_step_has_five_parts_and_a_reset_two(hopper):
    observation, info = hopper.reset(seed=0)
    assert observation.shape == (11,)
    assert isinstance(info, dict)
    observation, reward, terminated, truncated, info = hopper.step(np.zeros(3))
    assert observation.shape == (11,)
    assert np.isfinite(reward)
    assert (bool(terminated), bool(truncated)) == (False, False)
    assert isinstance(info, dict)


def test_an_environment_says_what_it_is(hopper):
    assert (hopper.name, hopper.id, hopper.physics) == ('hopper-medium-v2', 'Hopper-v4', 'd4rl')
    assert hopper.max_episode_steps == MAX_EPISODE_STEPS == 1000
    assert hopper.observation_space.shape == (11,)
    assert hopper.action_space.shape == (3,)
    assert make_environment('Walker2d-v4', 'stock').name == 'Walker2d-v4'


def test_the_clock_runs_out_after_a_thousand_steps():
    env = make_environment('HalfCheetah-v4', 'd4rl')
    env.reset(seed=0)
    ends = [env.step(np.zeros(6))[2:4] for _ in range(env.max_episode_steps)]
    assert not any(terminated or truncated for terminated, truncated in ends[:-1])
    assert ends[-1] == (False, True)


def test_scores_are_d4rls(hopper):
    assert hopper.get_normalized_score(-20.272305) == pytest.approx(0)
    assert hopper.get_normalized_score(3234.3) == pytest.approx(1)
    by_id = make_environment('Hopper-v4', 'stock', 'a-set-of-mine')
    assert by_id.get_normalized_score(3234.3) == pytest.approx(1)


def test_a_robot_that_d4rl_never_scored_has_no_score():
    assert make_environment('Swimmer-v4', 'stock').get_normalized_score(100) is None


def test_a_state_can_be_put_back(hopper):
    hopper.reset(seed=1)
    state, observation = hopper.state_vector(), hopper.observe()
    for _ in range(5):
        hopper.step(np.ones(3))
    assert not np.allclose(hopper.state_vector(), state)
    hopper.set_state(state[:6], state[6:])
    np.testing.assert_array_equal(hopper.state_vector(), state)
    np.testing.assert_allclose(hopper.observe(), observation)


def test_observing_is_not_a_step(hopper):
    hopper.reset(seed=2)
    observation, *_ = hopper.step(np.ones(3))
    np.testing.assert_array_equal(hopper.observe(), observation)
    np.testing.assert_array_equal(hopper.observe(), observation)


def test_equal_seeds_reset_alike_and_others_do_not(hopper):
    first, again, other = (hopper.reset(seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_d4rls_ants_have_contact_forces_that_are_zero():
    env = make_environment('Ant-v4', 'd4rl')
    first, _ = env.reset(seed=0)
    second, *_ = env.step(np.full(8, 0.5))
    for observation in (first, second, env.observe()):
        assert observation.shape == env.observation_space.shape == (D4RL_ANT_DIM,)
        assert (observation[:27] != 0).all()
        assert (observation[27:] == 0).all()
    assert make_environment('Ant-v4', 'stock').observation_space.shape == (27,)


@pytest.mark.parametrize(
    ('id', 'physics', 'message'),
    [
        ('Hopper-v4', 'd4lr', "unknown physics 'd4lr' for Hopper-v4; there are: d4rl, stock"),
        ('Swimmer-v4', 'd4rl', 'Swimmer-v4 has no D4RL physics; Hopper-v4, .* have'),
        ('Hoper-v4', 'stock', r"'Hoper-v4' is not an environment that Gymnasium can make(.|\n)*correct metadata/env"),
        ('antigravity:Env-v0', 'stock', "'antigravity:Env-v0' is not an environment .*: an id names no module"),
        ('', 'stock', "'' is not an environment"),
        ('Hopper-v2', 'stock', "'Hopper-v2' is not an environment"),
        ('CartPole-v1', 'stock', "'CartPole-v1' is no robot of MuJoCo's"),
    ],
)
def test_an_environment_that_cannot_be_made_is_named(id, physics, message):
    with pytest.raises(InputError, match=message):
        make_environment(id, physics)


def test_an_environment_without_data_says_how_to_name_some():
    with pytest.raises(InputError, match='names no recorded data; pass a file: --dataset_path'):
        make_environment('Hopper-v4', 'stock').get_dataset()
