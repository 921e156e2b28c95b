"""Robots with D4RL's physics against D4RL's own environments, recorded in MuJoCo 2.1.0."""

import mujoco
import numpy as np
import pytest

from tests.support import golden
from trajectory.environments.catalogue import ROBOTS
from trajectory.environments.making import make_environment
from trajectory.environments.offline import D4RL_ANT_DIM

N_EPISODES = 4
N_STEPS = 50


@pytest.fixture(scope='module')
def recorded():
    return golden('physics')


def tolerances(robot):
    """Numbers of steps, and how far observations and rewards may lie apart over them."""
    # Halfcheetah is chaotic: any model field changed by one unit in the last place moves these trajectories by 1e-6
    # to 1e-5 within 50 steps, so that two compilers already disagree.
    return [(30, 1e-6), (N_STEPS, 2e-5)] if robot == 'halfcheetah' else [(N_STEPS, 1e-6)]


def padded(observation, width):
    return np.pad(observation, (0, width - len(observation)))


def replay(env, recorded, robot, episode):
    """Act as recorded, on past the end of the episode.    returns : observations, rewards, dones"""
    robot_alone = env.unwrapped
    width = recorded[f'{robot}/observations'].shape[-1]
    mujoco.mj_resetData(robot_alone.model, robot_alone.data)
    env.set_state(recorded[f'{robot}/qpos'][episode], recorded[f'{robot}/qvel'][episode])
    observations, rewards, dones = [padded(env.observe(), width)], [], []
    for action in recorded[f'{robot}/actions'][episode, :N_STEPS]:
        observation, reward, terminated, _, _ = robot_alone.step(action)
        observations.append(padded(observation, width))
        rewards.append(reward)
        dones.append(terminated)
    return np.array(observations), np.array(rewards), np.array(dones)


@pytest.mark.parametrize('robot', ROBOTS)
def test_bodies_weigh_what_they_weighed(recorded, robot):
    model = make_environment(f'{ROBOTS[robot]}-v4', 'd4rl').unwrapped.model
    np.testing.assert_allclose(model.body_mass, recorded[f'{robot}/body_mass'], rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.body_inertia, recorded[f'{robot}/body_inertia'], rtol=0, atol=1e-12)


@pytest.mark.parametrize('robot', ROBOTS)
def test_time_runs_as_it_ran(recorded, robot):
    env = make_environment(f'{ROBOTS[robot]}-v4', 'd4rl').unwrapped
    assert env.frame_skip == recorded[f'{robot}/frame_skip']
    assert env.model.opt.timestep == recorded[f'{robot}/timestep']


@pytest.mark.parametrize('episode', range(N_EPISODES))
@pytest.mark.parametrize('robot', ROBOTS)
def test_robots_move_as_in_d4rl(recorded, robot, episode):
    env = make_environment(f'{ROBOTS[robot]}-v4', 'd4rl')
    observations, rewards, dones = replay(env, recorded, robot, episode)
    for n_steps, tolerance in tolerances(robot):
        np.testing.assert_allclose(
            observations[: n_steps + 1],
            recorded[f'{robot}/observations'][episode, : n_steps + 1],
            rtol=0,
            atol=tolerance,
        )
        np.testing.assert_allclose(
            rewards[:n_steps], recorded[f'{robot}/rewards'][episode, :n_steps], rtol=0, atol=tolerance
        )
    np.testing.assert_array_equal(dones, recorded[f'{robot}/dones'][episode, :N_STEPS])


@pytest.mark.parametrize('robot', ROBOTS)
def test_stock_robots_move_otherwise(recorded, robot):
    env = make_environment(f'{ROBOTS[robot]}-v4', 'stock')
    observations, _, _ = replay(env, recorded, robot, episode=0)
    apart = np.abs(observations - recorded[f'{robot}/observations'][0, : N_STEPS + 1])
    assert apart.max() > 0.01


def test_only_ants_recordings_are_wider_than_what_moves(recorded):
    widths = {robot: recorded[f'{robot}/observations'].shape[-1] for robot in ROBOTS}
    assert widths == {'halfcheetah': 17, 'hopper': 11, 'walker2d': 17, 'ant': D4RL_ANT_DIM}
