"""D4RL's own environments, where gym, d4rl and mujoco_py are installed; and what is said where they are not."""

import importlib
import sys

import numpy as np
import pytest

from trajectory.datasets import load_environment
from trajectory.datasets.hdf5 import write_episodes
from trajectory.environments.d4rl_gym import make_d4rl_environment
from trajectory.environments.making import make_environment
from trajectory.rendering.renderers import make_renderer
from trajectory.utils.errors import InputError


def missing():
    """What keeps the old stack from running here, in words; empty where nothing does."""
    for module in ('gym', 'd4rl', 'mujoco_py'):
        if importlib.util.find_spec(module) is None:
            return f'{module} is not installed (environment.yml says how)'
    return ''


old = pytest.mark.skipif(bool(missing()), reason=missing())

# ------------------------------- everywhere ------------------------------- #


def test_where_it_is_not_installed_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gym', None)
    with pytest.raises(InputError, match=r'cannot make hopper-medium-v2 here: (.|\n)*environment.yml says how'):
        load_environment('hopper-medium-v2', backend='d4rl')


@pytest.mark.parametrize('name', ['Hopper-v4', 'mine', '', 'os:Env-v0'])
def test_only_d4rls_names_are_made(name):
    with pytest.raises(InputError, match="is no environment of D4RL's, and --backend d4rl has no others"):
        make_d4rl_environment(name)


# --------------------------- where it is installed ------------------------ #


@old
@pytest.mark.parametrize(
    ('name', 'id', 'width', 'n_steps'),
    [
        ('hopper-medium-v2', 'Hopper-v4', 11, 1000),
        ('ant-medium-v2', 'Ant-v4', 111, 1000),
        ('maze2d-medium-v1', 'maze2d-medium-v1', 4, 600),
        ('antmaze-umaze-v2', 'antmaze-umaze-v2', 29, 700),
    ],
)
def test_it_is_used_like_any_other(name, id, width, n_steps):
    env = load_environment(name, backend='d4rl')
    first, info = env.reset(seed=0)
    observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert (env.name, env.id, env.physics, env.max_episode_steps) == (name, id, 'd4rl', n_steps)
    assert first.shape == observation.shape == env.observe().shape == (width,)
    assert (info, terminated, truncated) == ({}, False, False)
    assert isinstance(reward, float)
    np.testing.assert_array_equal(env.reset(seed=0)[0], first)


@old
def test_the_same_actions_lead_to_the_same_places_as_in_todays_mujoco():
    there, here = make_d4rl_environment('hopper-medium-v2'), make_environment('Hopper-v4', 'd4rl')
    there.reset(seed=0)
    here.reset(seed=0)
    here.set_state(*np.split(there.state_vector(), 2))
    actions = np.random.default_rng(0).uniform(-1, 1, size=(20, 3))
    for action in actions:
        (expected, reward, *_), (found, other_reward, *_) = there.step(action), here.step(action)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert reward == pytest.approx(other_reward, abs=1e-6)


@old
def test_the_clock_ends_an_episode_as_a_timeout():
    env = make_d4rl_environment('maze2d-umaze-v1')
    env.reset(seed=0)
    ends = [env.step(np.zeros(2))[2:4] for _ in range(300)]
    assert set(ends[:-1]) == {(False, False)}
    assert ends[-1] == (False, True)


@old
def test_scores_and_data_are_those_of_the_other_backend(tmp_path):
    rows = {
        'observations': np.ones((4, 11)),
        'actions': np.ones((4, 3)),
        'rewards': np.ones(4),
        'terminals': np.array([0, 1, 0, 0], bool),
        'timeouts': np.array([0, 0, 0, 1], bool),
    }
    write_episodes(tmp_path / 'mine.hdf5', rows, {})
    there, here = (
        load_environment('hopper-medium-v2', tmp_path / 'mine.hdf5', backend=backend) for backend in ('d4rl', 'mujoco')
    )
    assert there.get_normalized_score(1000) == pytest.approx(here.get_normalized_score(1000))
    for name, column in here.get_dataset().items():
        np.testing.assert_array_equal(there.get_dataset()[name], column)


@old
def test_it_draws_nothing_and_says_so():
    env = make_d4rl_environment('hopper-medium-v2')
    with pytest.raises(InputError, match='--renderer None'):
        make_renderer('Renderer', env)
    make_renderer(None, env)
