"""A controller that finds its way through a maze, here past walls that are only in its map."""

import numpy as np
import pytest

from trajectory.rollouts.waypoints import SPEED, WaypointController

U_TURN = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [1, 2], [0, 2]], dtype=float)


def go(controller, start, goal, n_steps=600):
    """Be a ball of Maze2d, less the walls.    returns : [ steps x 2 ] places, until the goal is near"""
    controller.head_for(np.array(goal))
    state = np.array([*start, 0, 0], dtype=float)
    places = [state[:2].copy()]
    for _ in range(n_steps):
        state[2:] += 0.01 * 24 * controller.act(state)
        state[:2] += 0.01 * state[2:]
        places.append(state[:2].copy())
        if np.linalg.norm(state[:2] - goal) < 0.1:
            break
    return np.array(places)


@pytest.mark.parametrize('stumbles', [True, False])
def test_it_goes_round_and_not_through(stumbles):
    places = go(WaypointController(U_TURN, np.random.default_rng(0), stumbles), (0, 0), (0.1, 1.9))
    assert np.linalg.norm(places[-1] - (0.1, 1.9)) < 0.1
    assert places[:, 0].max() > 1.5  # the far end of the U
    if not stumbles:  # here no wall holds it back when it does
        to_cells = np.linalg.norm(places[:, None] - U_TURN, axis=-1).min(axis=1)
        assert to_cells.max() < 0.75


def test_it_keeps_to_its_speed_and_to_the_forces_there_are():
    controller = WaypointController(U_TURN, np.random.default_rng(0), stumbles=False)
    places = go(controller, (0, 0), (2, 0))
    assert 0.8 * SPEED < np.linalg.norm(np.diff(places, axis=0), axis=1).max() / 0.01 < 1.1 * SPEED
    assert np.abs(controller.act(np.array([0, 0, 50.0, -50.0]))).max() == 1


def test_a_stumble_is_a_push_that_does_not_change_until_it_ends():
    controller = WaypointController(U_TURN, np.random.default_rng(1))
    controller.head_for(np.array([0.0, 0.0]))
    at_goal = np.zeros(4)
    pushes = np.array([controller.act(at_goal) for _ in range(2000)])
    stumbling = (pushes != 0).any(axis=1)
    assert 0.1 < stumbling.mean() < 0.35
    assert len(np.unique(pushes[stumbling], axis=0)) < stumbling.sum() / 5


def test_equal_generators_walk_alike():
    first, again, other = (
        go(WaypointController(U_TURN, np.random.default_rng(seed)), (0, 0), (0, 2)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert len(other) != len(first) or not np.array_equal(other, first)
