"""Frames of real robots, and that drawing never disturbs the environment."""

import os
import subprocess
import sys
from types import SimpleNamespace

import imageio.v3 as imageio
import numpy as np
import pytest

from trajectory.datasets import load_environment
from trajectory.environments.making import make_environment
from trajectory.rendering.renderers import (
    DIM,
    RENDERERS,
    make_renderer,
    rollout_from_state,
    set_state,
    split,
)
from trajectory.utils.errors import InputError

ROBOTS = ('Hopper', 'HalfCheetah', 'Walker2d', 'Ant')
CLIPPED = ('Hopper', 'Walker2d')  # their observations hold velocities between -10 and 10
N_HIDDEN = {'Hopper': 1, 'HalfCheetah': 1, 'Walker2d': 1, 'Ant': 2}  # positions that observations leave out
OPEN_A_RENDERER = (
    'from trajectory.environments.making import make_environment\n'  # imports MuJoCo before anyone draws
    'from trajectory.rendering.renderers import make_renderer\n'
    'env = make_environment("Hopper-v4", "stock")\n'
    'env.reset(seed=0)\n'
    'print(make_renderer("Renderer", env).render(env.state_vector()).std())\n'
)


def run_python(code, **variables):
    """A fresh process without a screen, and with these environment variables of OpenGL alone."""
    kept = {key: value for key, value in os.environ.items() if key not in ('MUJOCO_GL', 'DISPLAY')}
    return subprocess.run([sys.executable, '-c', code], env=kept | variables, capture_output=True, text=True)


def can_draw():
    """MuJoCo's own word, so that a renderer of ours that fails is never taken for a machine that cannot."""
    asked = {} if os.environ.get('DISPLAY') else {'MUJOCO_GL': os.environ.get('MUJOCO_GL') or 'egl'}
    kept = {key: os.environ[key] for key in ('DISPLAY', 'MUJOCO_GL') if key in os.environ}
    return run_python('import mujoco; mujoco.GLContext(16, 16)', **kept | asked).returncode == 0


drawing = pytest.mark.skipif(not can_draw(), reason='MuJoCo has no OpenGL here (install libegl1)')


def played(robot, n_steps=12, physics='d4rl'):
    """An environment that was acted in at random.    returns : env, observations, actions, states"""
    env = make_environment(f'{robot}-v4', physics)
    env.action_space.seed(0)
    observations, states = [env.reset(seed=0)[0]], [env.state_vector()]
    actions = [env.action_space.sample() for _ in range(n_steps)]
    for action in actions:
        observations.append(env.step(action)[0])
        states.append(env.state_vector())
    return env, np.array(observations), np.array(actions), np.array(states)


def imagine(observations, actions):
    """Transitions as of a model that knows what will happen.    returns : [ T x D ]"""
    return np.concatenate([observations[: len(actions)], actions, np.zeros((len(actions), 2))], axis=1)


def is_robot(frames):
    """Pixels that are orange: robots are, sky and floor are not."""
    return frames[..., 0] > frames[..., 2].astype(int) + 40


# -------------------------------- drawing --------------------------------- #


@drawing
@pytest.mark.parametrize('robot', ROBOTS)
def test_the_robot_is_in_view_above_the_floor_and_moves(robot):
    env, _, _, states = played(robot)
    frames = make_renderer('Renderer', env).renders(states)
    assert frames.shape == (13, DIM, DIM, 3)
    assert frames.dtype == np.uint8
    assert (is_robot(frames).mean(axis=(1, 2)) > 0.003).all()
    assert (frames[:, -40:].std(axis=(1, 2, 3)) > 40).all()  # the floor's squares
    assert (frames[:, :20].std(axis=(1, 2, 3)) < 20).all()  # the sky
    assert (frames[0] != frames[-1]).mean() > 0.01


@drawing
def test_the_camera_follows_the_robot_wherever_it_goes():
    env, _, _, states = played('Hopper')
    far = states[0] + np.eye(states.shape[1])[0] * 10
    frames = make_renderer('Renderer', env).renders([states[0], far])
    here, there = (np.argwhere(is_robot(frame)).mean(axis=0) for frame in frames)
    np.testing.assert_allclose(here, there, atol=6)  # pixels; the floor mirrors a little orange


@drawing
@pytest.mark.parametrize('robot', ROBOTS)
def test_observations_draw_what_their_states_do(robot):
    env, observations, _, states = played(robot, n_steps=1)
    renderer = make_renderer('Renderer', env)
    placed = states[0].copy()
    placed[: N_HIDDEN[robot]] = 0
    np.testing.assert_array_equal(renderer.render(observations[0]), renderer.render(placed))


@drawing
def test_frames_are_as_large_as_asked():
    env, observations, _, states = played('Hopper', n_steps=1)
    renderer = make_renderer('Renderer', env)
    assert renderer.render(observations[0], dim=64).shape == (64, 64, 3)
    assert renderer.renders(states, dim=700).shape == (2, 700, 700, 3)  # larger than MuJoCo's default buffer
    assert renderer.render(observations[0]).shape == (DIM, DIM, 3)
    assert RENDERERS['Renderer'](env, dim=32).renders(states).shape == (2, 32, 32, 3)


@drawing
def test_drawing_needs_no_screen_and_no_variable_even_after_mujoco_is_imported():
    found = run_python(OPEN_A_RENDERER)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) > 10


def test_a_machine_that_cannot_draw_is_told_what_to_do():
    found = run_python(OPEN_A_RENDERER, MUJOCO_GL='glfw')  # which needs a screen
    assert 'InputError: this machine cannot draw' in found.stderr
    assert '--renderer None; or install libegl1; or set MUJOCO_GL=osmesa' in found.stderr


def test_importing_costs_nothing():
    heavy = ('mujoco', 'gymnasium', 'matplotlib', 'imageio')
    found = run_python(f'import sys, trajectory.rendering.renderers; print([m for m in {heavy} if m in sys.modules])')
    assert found.stdout.strip() == '[]', found.stderr


# ---------------------------- imagined states ----------------------------- #


@drawing
@pytest.mark.parametrize('robot', ROBOTS)
def test_imagined_observations_become_the_states_they_were_made_in(robot):
    env, observations, _, states = played(robot)
    states[:, : N_HIDDEN[robot]] += 5
    imagined = make_renderer('Renderer', env).to_states(observations, states[0])
    n_hidden = N_HIDDEN[robot]
    bounds = (-10, 10) if robot in CLIPPED else (None, None)
    np.testing.assert_allclose(imagined[:, n_hidden:], states[:, n_hidden:].clip(*bounds), atol=1e-9)
    np.testing.assert_allclose(imagined[:, :n_hidden], states[:, :n_hidden], atol=0.1)  # from velocities
    assert np.ptp(imagined[:, 0]) > 0


def test_an_ant_is_the_same_with_and_without_its_contact_forces():
    env, observations, _, states = played('Ant')
    assert observations.shape[1] == 111
    renderer = make_renderer(None, env)
    np.testing.assert_array_equal(
        renderer.to_states(observations, states[0]), renderer.to_states(observations[:, :27], states[0])
    )


def test_a_kitchen_is_told_by_its_positions_whatever_lies_behind():
    env, _, _, states = played('HalfCheetah')  # its 9 positions serve as a kitchen's
    kitchen = RENDERERS['KitchenRenderer'].to_states
    renderer = make_renderer(None, env)
    renderer.unpack = RENDERERS['KitchenRenderer'].unpack.__get__(renderer)
    for n_goals in (0, 7):
        found = kitchen(renderer, np.pad(states[:, :9], [(0, 0), (0, n_goals)], constant_values=3))
        np.testing.assert_array_equal(found, np.pad(states[:, :9], [(0, 0), (0, 9)]))


@drawing
def test_a_kitchen_renderer_films_the_model_it_is_given():
    env, _, _, states = played('HalfCheetah')
    frames = make_renderer('KitchenRenderer', env).renders(states[:, :9])
    assert frames.shape == (13, DIM, DIM, 3)
    np.testing.assert_array_equal(
        frames, make_renderer('KitchenRenderer', env).renders(np.pad(states[:, :9], [(0, 0), (0, 9)]))
    )


def test_observations_of_another_robot_are_refused():
    env, observations, _, _ = played('Hopper')
    for width in (8, 14):
        with pytest.raises(InputError, match=rf'of {width} columns .* of Hopper-v4.\n.*--renderer None'):
            make_renderer(None, env).to_states(np.resize(observations, (3, width)))


# ------------------------------- simulation ------------------------------- #


@pytest.mark.parametrize('robot', ROBOTS)
def test_a_simulated_rollout_is_what_the_environment_then_does(robot):
    env, observations, actions, _ = played(robot)
    found = rollout_from_state(env, env.state_vector(), actions)
    expected = [observations[-1]] + [env.step(action)[0] for action in actions]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.shape == (13, env.observation_space.shape[0])


@pytest.mark.parametrize('physics', ['d4rl', 'stock'])
@pytest.mark.parametrize('robot', ROBOTS)
def test_the_next_step_is_the_same_whether_or_not_a_plan_was_simulated(robot, physics):
    def after(disturb):
        env, _, actions, states = played(robot, physics=physics)
        disturb(env, states, actions)
        observation, reward, _, _, _ = env.step(actions[0])
        return [*observation, reward, env.unwrapped.data.time]

    undisturbed = after(lambda *_: None)
    assert after(lambda env, states, actions: rollout_from_state(env, states[3], actions)) == undisturbed


def test_a_rollout_that_fails_leaves_the_environment_whole():
    env, _, actions, states = played('Hopper')
    data = env.unwrapped.data
    with pytest.raises(ValueError, match='dimension'):
        rollout_from_state(env, states[0], actions[:, :2])
    assert env.unwrapped.data is data
    np.testing.assert_array_equal(env.state_vector(), states[-1])


def test_simulating_does_not_use_up_the_episode():
    env, _, actions, states = played('HalfCheetah', n_steps=600)
    rollout_from_state(env, states[0], actions)
    assert not env.step(actions[0])[3]  # cut off after a thousand steps, of which this is the 601st


# --------------------------------- files ---------------------------------- #


@drawing
@pytest.mark.parametrize('robot', ROBOTS)
def test_a_perfect_plan_is_filmed_beside_the_same_thing_happening(robot, tmp_path):
    env, observations, actions, states = played(robot)
    kept = observations[:, :27]  # as preprocessing leaves Ant's
    make_renderer('Renderer', env).render_plan(tmp_path / 'new' / '0_plan.mp4', imagine(kept, actions), states[0])
    plan = imageio.imread(tmp_path / 'new' / '0_plan.mp4')
    assert plan.shape == (12, DIM, 2 * DIM, 3)
    left, right = plan[..., :DIM, :].astype(int), plan[..., DIM:, :].astype(int)
    moved = np.abs(right[0] - right[-1]).mean()
    assert moved > 1
    apart = (is_robot(left) ^ is_robot(right)).sum() / is_robot(right).sum()
    assert apart < 0.2
    np.testing.assert_array_equal(env.state_vector(), states[-1])


@drawing
def test_a_plan_whose_state_is_not_given_begins_in_its_first_observation(tmp_path):
    env, observations, actions, states = played('HalfCheetah')
    renderer = make_renderer('Renderer', env)
    states[0, 0] = 0
    renderer.render_plan(tmp_path / 'given.mp4', imagine(observations, actions), states[0])
    renderer.render_plan(tmp_path / 'found.mp4', imagine(observations, actions))
    given, found = (imageio.imread(tmp_path / name) for name in ('given.mp4', 'found.mp4'))
    np.testing.assert_array_equal(given, found)
    renderer.render_plan(tmp_path / 'other.mp4', imagine(observations, actions), states[12])
    other = imageio.imread(tmp_path / 'other.mp4')
    assert np.abs(other[0, :, DIM:].astype(int) - given[0, :, DIM:]).mean() > 1  # it does count, if given


@drawing
def test_actions_that_do_not_do_what_was_imagined_are_seen(tmp_path):
    env, observations, actions, states = played('HalfCheetah')
    make_renderer('Renderer', env).render_plan(
        tmp_path / '0_plan.mp4', imagine(np.repeat(observations[:1], 12, axis=0), actions), states[0]
    )
    last = imageio.imread(tmp_path / '0_plan.mp4')[-1]
    left, right = is_robot(last[:, :DIM]), is_robot(last[:, DIM:])
    assert (left ^ right).sum() / right.sum() > 0.3


@drawing
def test_an_episode_is_filmed_to_its_last_state(tmp_path):
    env, observations, _, states = played('HalfCheetah')
    renderer = make_renderer('Renderer', env)
    for rows in (states, observations):
        renderer.render_rollout(tmp_path / 'rollout.mp4', rows)
        rollout = imageio.imread(tmp_path / 'rollout.mp4')
        assert rollout.shape == (13, DIM, DIM, 3)
        shown = renderer.renders(rows).astype(int)
        assert np.abs(shown - rollout[-1]).mean(axis=(1, 2, 3)).argmin() == 12


# --------------------------------- mazes ---------------------------------- #


def is_wall(picture):
    return (np.abs(picture.astype(int) - 153) < 3).all(axis=-1)


@pytest.mark.parametrize('name', ['Maze2dRenderer', 'AntMazeRenderer'])
def test_a_path_is_a_picture_with_a_green_start_and_a_red_end(name, tmp_path):
    env, _, _, _ = played('Hopper', n_steps=1)
    path = np.linspace([-1, -1, 9], [1, 1, 9], 50)
    make_renderer(name, env).render_rollout(tmp_path / 'new' / 'rollout.mp4', path)
    assert [file.name for file in (tmp_path / 'new').iterdir()] == ['rollout.png']
    picture = imageio.imread(tmp_path / 'new' / 'rollout.png').astype(int)
    assert picture.shape == (DIM, DIM, 3)
    start = np.argwhere((np.abs(picture - (44, 160, 44)) < 3).all(axis=-1)).mean(axis=0)  # tab:green
    end = np.argwhere((np.abs(picture - (214, 39, 40)) < 3).all(axis=-1)).mean(axis=0)  # tab:red
    assert start[0] > end[0]  # up is north
    assert start[1] < end[1]  # right is east
    assert not is_wall(picture).any()


def test_walls_stand_where_the_map_says():
    walls = np.array([[x, y] for x in (-3, -1, 1, 3) for y in (-2, 0, 2) if y or abs(x) == 3])
    maze = SimpleNamespace(robot=object(), walls=walls, wall_side=2.0, goal=None)
    picture = make_renderer('Maze2dRenderer', maze).render(np.array([-1.0, 0.0]))
    assert 0.5 < is_wall(picture).mean() < 0.7  # 10 of 12 cells, in a square picture of a map that is 4 by 3
    middle = is_wall(picture[DIM // 2])
    assert not middle[DIM // 2 - 10 : DIM // 2 + 10].any()
    assert middle[10:40].mean() > 0.5


def test_an_imagined_path_lies_beside_the_one_it_leads_to_in_the_same_view(tmp_path):
    env, _, actions, states = played('Hopper')  # its first two columns serve as x and y
    make_renderer('Maze2dRenderer', env).render_plan(tmp_path / '0_plan.png', imagine(states, actions), states[0])
    picture = imageio.imread(tmp_path / '0_plan.png')
    assert picture.shape == (DIM, 2 * DIM, 3)
    starts = [
        np.argwhere((np.abs(half.astype(int) - (44, 160, 44)) < 3).all(axis=-1)).mean(axis=0)
        for half in (picture[:, :DIM], picture[:, DIM:])
    ]
    np.testing.assert_allclose(*starts, atol=1)


def test_a_path_grows_frame_by_frame_in_a_view_that_stays():
    env, _, _, _ = played('Hopper', n_steps=1)
    frames = make_renderer('Maze2dRenderer', env).renders(np.linspace([0, 0], [1, 1], 4), dim=64)
    assert frames.shape == (4, 64, 64, 3)
    drawn = (frames < 250).any(axis=-1).sum(axis=(1, 2))
    assert (np.diff(drawn) > 0).all()


# ------------------------- real mazes and kitchens ------------------------ #


@pytest.fixture
def load():
    """Loads one of D4RL's mazes or kitchens, where they can be simulated."""
    pytest.importorskip('gymnasium_robotics', reason='needs gymnasium-robotics (pip install -e .[robotics])')
    return load_environment


def acted(env, actions):
    """An environment that was acted in.    returns : observations, states"""
    observations, states = [env.reset(seed=0)[0]], [env.state_vector()]
    for action in actions:
        observations.append(env.step(action)[0])
        states.append(env.state_vector())
    return np.array(observations), np.array(states)


def middle_of(picture, color):
    """[ row, column ]  the middle of what has this colour, as shares of the picture."""
    return np.argwhere((np.abs(picture.astype(int) - color) < 3).all(axis=-1)).mean(axis=0) / len(picture)


def where(env, place):
    """[ row, column ]  where a place is in the picture of a maze, all walls of which are in view."""
    low, high = env.walls.min(axis=0) - env.wall_side / 2, env.walls.max(axis=0) + env.wall_side / 2
    x, y = 0.5 + (place - (low + high) / 2) / (1.1 * (high - low).max())  # matplotlib leaves a margin
    return np.array([1 - y, x])


@pytest.mark.parametrize(
    ('name', 'renderer'), [('maze2d-large-v1', 'Maze2dRenderer'), ('antmaze-large-play-v2', 'AntMazeRenderer')]
)
def test_a_real_maze_is_a_picture_with_walls_goal_plan_and_path(load, name, renderer, tmp_path):
    env = load(name)
    actions = np.tile(np.linspace(-1, 1, env.action_space.shape[0]), (60, 1))
    observations, states = acted(env, actions)
    renderer = make_renderer(renderer, env)
    renderer.render_plan(tmp_path / '0_plan', imagine(observations, actions), states[0])
    elsewhere = observations.copy()
    elsewhere[:, 1] += np.linspace(0, env.wall_side, len(elsewhere))
    renderer.render_plan(tmp_path / '1_plan', imagine(elsewhere, actions), states[0])
    renderer.render_rollout(tmp_path / 'rollout', states)

    picture = imageio.imread(tmp_path / 'rollout.png')
    for cell in env.cells:
        row, column = (where(env, cell) * DIM).astype(int)
        assert not is_wall(picture)[row, column]
    for wall in env.walls:
        row, column = (where(env, wall) * DIM).astype(int)
        assert is_wall(picture)[row, column]
    np.testing.assert_allclose(middle_of(picture, (255, 215, 0)), where(env, env.goal), atol=0.02)  # a star
    np.testing.assert_allclose(middle_of(picture, (44, 160, 44)), where(env, states[0, :2]), atol=0.02)  # start
    assert middle_of(picture, (255, 127, 14))[0] < where(env, states[0, :2])[0]  # a plan north
    beside = imageio.imread(tmp_path / '0_plan.png')
    assert beside.shape == (DIM, 2 * DIM, 3)
    difference = beside[:, :DIM].astype(int) - beside[:, DIM:]
    assert (np.abs(difference).max(axis=-1) > 60).mean() < 0.01  # a perfect plan leads where it is imagined to


@drawing
def test_a_real_kitchen_is_filmed_and_its_plan_beside_what_happens(load, tmp_path):
    env = load('kitchen-mixed-v0')
    actions = np.tile(np.linspace(-1, 1, 9), (8, 1))
    observations, states = acted(env, actions)
    renderer = make_renderer('KitchenRenderer', env)
    frames = renderer.renders(observations)
    assert frames.shape == (9, DIM, DIM, 3)
    assert frames.std() > 40
    np.testing.assert_array_equal(frames, renderer.renders(observations[:, :30]))  # the goal is not drawn
    moved = (np.abs(frames[0].astype(int) - frames[-1]).max(axis=-1) > 30).mean()
    assert 0.005 < moved < 0.3  # the robot, not the kitchen
    microwave = states[0].copy()
    microwave[22] = -0.75
    opened = np.argwhere(np.abs(renderer.render(states[0]).astype(int) - renderer.render(microwave)).max(axis=-1) > 30)
    assert len(opened) > 200
    assert opened[:, 1].mean() < DIM / 2  # it stands on the left

    np.testing.assert_array_equal(env.state_vector(), states[-1])
    draws = env.robot.np_random.bit_generator.state
    renderer.render_plan(tmp_path / '0_plan.mp4', imagine(observations[:, :30], actions), states[0])
    assert env.robot.np_random.bit_generator.state == draws
    np.testing.assert_array_equal(env.state_vector(), states[-1])
    imagined, happened = np.split(imageio.imread(tmp_path / '0_plan.mp4').astype(int), 2, axis=2)
    assert np.abs(imagined - happened).mean() < 6


@drawing
def test_an_ant_in_a_maze_is_filmed_where_it_is(load):
    env = load('antmaze-umaze-v0')
    _, states = acted(env, np.zeros((2, 8)))
    renderer = make_renderer('Renderer', env)
    renderer.render(states[-1])
    np.testing.assert_allclose(renderer.data.qpos, env.robot.data.qpos)


# --------------------------------- calls ---------------------------------- #


def test_no_renderer_draws_nothing_and_takes_every_call(tmp_path):
    env, _, _, states = played('Hopper')
    renderer = make_renderer(None, env)
    renderer.render_plan(tmp_path / '0_plan.mp4', np.zeros((1, 16)), states[0])
    renderer.render_rollout(tmp_path / 'rollout.mp4', states)
    assert not list(tmp_path.iterdir())
    assert renderer.render(states[0]).shape == (DIM, DIM, 3)
    assert renderer.renders(states, dim=8).shape == (13, 8, 8, 3)


def test_a_renderer_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(InputError, match="unknown renderer 'Movie'; there are: Renderer, DebugRenderer, Kitch"):
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
