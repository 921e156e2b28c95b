"""Frames of real robots, and that drawing never disturbs the environment."""
import os

import imageio.v3 as imageio
import numpy as np
import pytest

from trajectory.datasets.environments import make_environment
from trajectory.utils.errors import InputError
from trajectory.utils.rendering import (
    DIM,
    RENDERERS,
    make_renderer,
    rollout_from_state,
    set_state,
    split,
)

os.environ.setdefault('MUJOCO_GL', 'egl')
ROBOTS = ('Hopper', 'HalfCheetah', 'Walker2d', 'Ant')


def can_draw():
    try:
        make_renderer('Renderer', make_environment('Hopper-v4', 'stock'))
    except InputError:
        return False
    return True


drawing = pytest.mark.skipif(not can_draw(), reason='this machine has no OpenGL (install libegl1)')


def played(robot, n_steps=12):
    """An environment that was acted in at random.    returns : env, observations, actions, states"""
    env = make_environment(f'{robot}-v4', 'd4rl')
    env.action_space.seed(0)
    observations, states = [env.reset(seed=0)[0]], [env.state_vector()]
    actions = [env.action_space.sample() for _ in range(n_steps)]
    for action in actions:
        observations.append(env.step(action)[0])
        states.append(env.state_vector())
    return env, np.array(observations), np.array(actions), np.array(states)


@drawing
@pytest.mark.parametrize('robot', ROBOTS)
def test_the_robot_is_in_view_and_moves(robot):
    env, _, _, states = played(robot)
    frames = make_renderer('Renderer', env).renders(states)
    assert frames.shape == (13, DIM, DIM, 3)
    assert frames.dtype == np.uint8
    orange = (frames[..., 0] > frames[..., 2].astype(int) + 40).mean(axis=(1, 2))  # robots are; sky and floor are not
    assert (orange > 0.003).all()
    assert (frames[0] != frames[-1]).mean() > 0.01


@drawing
@pytest.mark.parametrize('robot', ROBOTS)
def test_imagined_observations_become_the_states_they_were_made_in(robot):
    env, observations, _, states = played(robot)
    n_columns = states.shape[1] - (2 if robot == 'Ant' else 1)
    imagined = make_renderer('Renderer', env).to_states(observations[:, :n_columns], states[0])
    n_hidden = states.shape[1] - n_columns
    np.testing.assert_allclose(imagined[:, n_hidden:], states[:, n_hidden:].clip(
        *((-10, 10) if robot in ('Hopper', 'Walker2d') else (None, None))), atol=1e-9)
    np.testing.assert_allclose(imagined[:, :n_hidden], states[:, :n_hidden], atol=0.1)  # integrated from velocities


@pytest.mark.parametrize('robot', ROBOTS)
def test_a_simulated_rollout_repeats_the_episode_and_leaves_the_environment_alone(robot):
    env, _, actions, states = played(robot)
    before = env.unwrapped.data.time, env.state_vector(), env.unwrapped.data.qacc_warmstart.copy()
    found = rollout_from_state(env, states[0], actions)
    np.testing.assert_allclose(found[:8], states[:8], atol=1e-6)
    assert env.unwrapped.data.time == before[0]
    np.testing.assert_array_equal(env.state_vector(), before[1])
    np.testing.assert_array_equal(env.unwrapped.data.qacc_warmstart, before[2])


@drawing
def test_a_plan_is_filmed_beside_what_it_does_and_an_episode_whole(tmp_path):
    env, observations, actions, states = played('Hopper')
    sequence = np.concatenate([observations[:-1], actions, np.zeros((12, 2))], axis=1)
    renderer = make_renderer('Renderer', env)
    renderer.render_plan(tmp_path / '0_plan.mp4', sequence, states[0])
    renderer.render_rollout(tmp_path / 'rollout.mp4', states)
    plan, rollout = (imageio.imread(tmp_path / name) for name in ('0_plan.mp4', 'rollout.mp4'))
    assert plan.shape == (12, DIM, 2 * DIM, 3)
    assert rollout.shape == (13, DIM, DIM, 3)
    left, right = plan[..., :DIM, :].astype(int), plan[..., DIM:, :].astype(int)
    assert np.abs(left - right).mean() < 3  # a perfect model imagines what happens


def test_mazes_are_drawn_from_above(tmp_path):
    env, observations, actions, states = played('Hopper')  # its first two columns serve as x and y
    for name in ('Maze2dRenderer', 'AntMazeRenderer'):
        renderer = make_renderer(name, env)
        sequence = np.concatenate([observations[:-1], actions, np.zeros((12, 2))], axis=1)
        renderer.render_plan(tmp_path / '0_plan.mp4', sequence, states[0])
        renderer.render_rollout(tmp_path / 'rollout.mp4', states)
        assert imageio.imread(tmp_path / '0_plan.png').shape == (DIM, 2 * DIM, 3)
        picture = imageio.imread(tmp_path / 'rollout.png')
        assert picture.shape == (DIM, DIM, 3)
        assert (picture < 250).any()


def test_no_renderer_draws_nothing_and_takes_every_call(tmp_path):
    env, observations, actions, states = played('Hopper')
    renderer = make_renderer(None, env)
    renderer.render_plan(tmp_path / '0_plan.mp4', np.zeros((1, 16)), states[0])
    renderer.render_rollout(tmp_path / 'rollout.mp4', states)
    assert not list(tmp_path.iterdir())
    assert renderer.render(states[0]).shape == (DIM, DIM, 3)


def test_every_renderer_has_the_same_calls():
    for renderer in RENDERERS.values():
        for call in ('render', 'renders', 'render_plan', 'render_rollout'):
            assert callable(getattr(renderer, call))
    with pytest.raises(InputError, match="unknown renderer 'Movie'; there are: Renderer, DebugRenderer"):
        make_renderer('Movie', None)


def test_a_transition_is_split_by_its_columns():
    observations, actions, rewards, values = split(np.arange(14).reshape(2, 7), 3, 2)
    np.testing.assert_array_equal(observations, [[0, 1, 2], [7, 8, 9]])
    np.testing.assert_array_equal(actions, [[3, 4], [10, 11]])
    np.testing.assert_array_equal(rewards, [5, 12])
    np.testing.assert_array_equal(values, [6, 13])


def test_a_state_is_set_by_its_vector():
    env, _, _, states = played('Walker2d')
    set_state(env, states[3])
    np.testing.assert_array_equal(env.state_vector(), states[3])
