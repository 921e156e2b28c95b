"""D4RL's mazes and kitchens: real simulations, held against what D4RL's source says of its own."""

import sys

import numpy as np
import pytest

from trajectory.datasets import get_preprocess_fn, load_environment
from trajectory.environments.catalogue import d4rl_catalogue, is_task
from trajectory.environments.making import make_environment
from trajectory.utils.errors import InputError

pytest.importorskip('gymnasium_robotics', reason='needs gymnasium-robotics (pip install -e .[robotics])')

NAMES = [name for name in d4rl_catalogue() if is_task(name)]


def drive(env, state, action, n_steps):
    """Push in one direction from a state.    returns : the last observation"""
    env.set_state(np.array(state[:2]), np.array(state[2:]))
    for _ in range(n_steps):
        observation, *_ = env.step(np.array(action))
    return observation


# -------------------------------- all of them ----------------------------- #


@pytest.mark.parametrize('name', NAMES)
def test_every_name_steps(name):
    env = load_environment(name)
    width = {'maze2d': 4, 'antmaze': 29, 'kitchen': 60}[name.split('-')[0]]
    observation, _ = env.reset(seed=0)
    following, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert (env.name, env.id, env.physics) == (name, name, 'stock')
    assert env.data_source == f'D4RL {name}'
    assert observation.shape == following.shape == env.observe().shape == env.observation_space.shape == (width,)
    assert isinstance(reward, float)
    assert (bool(terminated), bool(truncated)) == (False, False)
    np.testing.assert_array_equal(env.reset(seed=0)[0], observation)


@pytest.mark.parametrize(
    ('name', 'n_steps'),
    [
        ('maze2d-open-v0', 150),
        ('maze2d-umaze-v1', 300),
        ('maze2d-medium-dense-v1', 600),
        ('maze2d-eval-large-v1', 800),
        ('antmaze-umaze-v0', 700),
        ('antmaze-large-play-v2', 1000),
        ('kitchen-partial-v0', 280),
    ],
)
def test_episodes_are_as_long_as_d4rls(name, n_steps):
    assert load_environment(name).max_episode_steps == n_steps


@pytest.mark.parametrize(
    ('name', 'low', 'high'),
    [
        ('maze2d-medium-v1', 13.13, 277.39),
        ('antmaze-medium-play-v0', 0, 1),
        ('kitchen-mixed-v0', 0, 4),
    ],
)
def test_scores_are_d4rls(name, low, high):
    env = load_environment(name)
    env.reset(seed=0)
    assert env.get_normalized_score(low) == pytest.approx(0)
    assert env.get_normalized_score(high) == pytest.approx(1)


def test_without_gymnasium_robotics_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'gymnasium_robotics', None)
    with pytest.raises(InputError, match=r'maze2d-umaze-v1 is simulated by gymnasium-robotics, (.|\n)*pip install -e'):
        load_environment('maze2d-umaze-v1')


def test_the_physics_are_not_called_d4rls():
    with pytest.raises(InputError, match='maze2d-umaze-v1 has no D4RL physics'):
        make_environment('maze2d-umaze-v1', 'd4rl')


# ---------------------------------- mazes --------------------------------- #


@pytest.mark.parametrize(
    ('name', 'goal', 'walls'),
    [
        ('maze2d-umaze-v1', (1, 1), {(2, 1), (2, 2), (0, 0), (4, 4)}),
        ('maze2d-medium-v1', (6, 6), {(1, 3), (1, 4), (3, 1), (3, 5), (5, 2), (6, 4), (7, 7)}),
        ('maze2d-large-v1', (7, 9), {(1, 5), (2, 2), (4, 5), (6, 1), (8, 11)}),
    ],
)
def test_a_point_maze_has_d4rls_goal_and_walls_in_its_coordinates(name, goal, walls):
    env = load_environment(name)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.goal, goal)
    found = {tuple(cell) for cell in np.round(env.walls + 0.2).astype(int)}  # row and column
    assert walls <= found
    assert goal not in found


@pytest.mark.parametrize(
    ('start', 'force', 'n_steps', 'end'),
    [
        ((1, 1), (1, 0), 150, (1.19850204, 1)),  # to the wall below: in D4RL x grows down the rows of its map
        ((1, 3), (0, 1), 150, (1, 3.19850204)),  # to the one on the right
        ((3, 1), (0, -1), 150, (3, 0.401497963)),  # to the one on the left
        ((1, 3), (1, 0), 60, (3.20012859, 3)),  # down, where there is none until the map ends
    ],
)
def test_the_ball_stops_at_the_walls_it_stopped_at_in_d4rl(start, force, n_steps, end):
    env = load_environment('maze2d-umaze-v1')
    env.reset(seed=0)
    found = drive(env, (*start, 0, 0), force, n_steps)[:2]
    np.testing.assert_allclose(found, end, atol=0.002)  # measured with d4rl 1.1 on MuJoCo 2.1.0


def test_free_motion_is_d4rls():
    env = load_environment('maze2d-open-v0')
    env.reset(seed=0)
    found = drive(env, (2, 2, 0, 0), (0.5, -0.25), 10)
    measured = [2.065029321066434, 1.967485339466783, 1.1781374663487654, -0.5890687331743827]  # as above
    np.testing.assert_allclose(found, measured, rtol=1e-13)


def test_starts_and_random_goals_are_near_whole_numbers_and_free():
    env = load_environment('maze2d-medium-v1')
    rng = np.random.default_rng(0)
    places = np.array([env.random_place(rng) for _ in range(300)])
    starts = np.array([env.reset(seed=seed)[0] for seed in range(50)])
    for found in (places, starts[:, :2]):
        assert np.abs(found - found.round()).max() <= 0.1
        assert {tuple(cell) for cell in found.round().astype(int)} <= {tuple(cell) for cell in env.places}
    assert len(np.unique(places.round(), axis=0)) == len(env.places) == 26
    assert 0.05 < starts[:, 2:].std() < 0.2


def test_a_random_goal_is_its_seeds_and_has_no_score():
    env = load_environment('maze2d-medium-v1')
    goals = []
    for seed in (0, 0, 1):
        env.reset(seed=seed, options={'goal': 'random'})
        goals.append(env.goal)
    np.testing.assert_array_equal(goals[0], goals[1])
    assert not np.array_equal(goals[0], goals[2])
    assert env.get_normalized_score(100) is None
    env.reset(seed=0)
    assert env.get_normalized_score(100) is not None


@pytest.mark.parametrize(
    ('name', 'reward_near', 'reward_far'),
    [
        ('maze2d-medium-v1', 1, 0),
        ('maze2d-medium-dense-v1', np.exp(-0.4), np.exp(-2)),
    ],
)
def test_rewards_are_d4rls(name, reward_near, reward_far):
    env = load_environment(name)
    env.reset(seed=0)
    for distance, reward, success in ((0.4, reward_near, True), (2, reward_far, False)):
        env.set_state(env.goal - (distance, 0), np.zeros(2))
        _, found, terminated, _, info = env.step(np.zeros(2))
        assert found == pytest.approx(reward, abs=1e-6)
        assert (info['success'], terminated) == (success, False)


def test_the_goal_is_seen_at_rest():
    env = load_environment('maze2d-medium-v1')
    env.reset(seed=0)
    np.testing.assert_array_equal(env.observe_goal(), [6, 6, 0, 0])
    ant = load_environment('antmaze-umaze-v0')
    ant.reset(seed=0)
    goal = ant.observe_goal()
    np.testing.assert_array_equal(goal[:2], ant.goal)
    np.testing.assert_array_equal(goal[15:], 0)
    assert goal[2] == pytest.approx(0.55, abs=0.3)  # it stands


def test_an_ant_begins_at_the_origin_and_ends_at_its_goal():
    env = load_environment('antmaze-umaze-v0')
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        assert np.abs(observation[:2]).max() <= 0.1
        assert (env.goal >= (0, 8)).all()  # the cell two rows below, and what D4RL adds
        assert (env.goal <= (1.5, 9.5)).all()
    np.testing.assert_array_equal(env.state_vector(), observation)
    np.testing.assert_allclose(env.unwrapped._get_obs(env.robot._get_obs())['observation'], observation[2:])
    state = env.state_vector()
    state[:2] = env.goal
    env.set_state(state[:15], state[15:])
    *_, reward, terminated, _, info = env.step(np.zeros(8))
    assert (reward, terminated, info['success']) == (1, True, True)


def test_a_reset_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    load_environment('maze2d-umaze-v1').reset(seed=0)
    assert not list(tmp_path.iterdir())


# --------------------------------- kitchen -------------------------------- #


def test_a_kitchen_is_robot_objects_and_goal():
    env = load_environment('kitchen-mixed-v0')
    env.reset(seed=0)
    observation, *_ = env.step(np.zeros(9))
    positions = env.robot.data.qpos
    np.testing.assert_allclose(observation[:9], positions[:9], atol=0.0101)  # a tenth of the noise there is
    np.testing.assert_allclose(observation[9:30], positions[9:], atol=1e-3)
    assert np.abs(observation[:9] - positions[:9]).max() > 1e-4
    goal = observation[30:]
    np.testing.assert_allclose(goal[22], -0.75)  # the microwave
    np.testing.assert_allclose(goal[[11, 12, 17, 18]], [-0.88, -0.01, -0.69, -0.05])
    np.testing.assert_array_equal(goal[[*range(11), 13, 14, 15, 16, 19, 20, 21]], 0)
    np.testing.assert_array_equal(get_preprocess_fn(env.id)(observation), observation[:30])
    np.testing.assert_allclose(env.observe()[:30], positions)


def test_a_task_that_is_done_is_rewarded_once():
    env = load_environment('kitchen-complete-v0')
    env.reset(seed=0)
    qpos, qvel = np.split(env.state_vector(), [30])
    qpos[22] = -0.75
    env.set_state(qpos, qvel)
    rewards = [env.step(np.zeros(9))[1] for _ in range(3)]
    assert rewards == [1, 0, 0]
