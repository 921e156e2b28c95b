"""Recorded steps as transitions, against the reference's."""

from types import SimpleNamespace

import numpy as np

from tests.datasets.test_sources import steps
from tests.support import golden
from trajectory.datasets.d4rl import qlearning_dataset_with_timeouts


def test_transitions_are_the_references():
    arrays = golden('dataset_step1')
    raw = {name.removeprefix('raw/'): value for name, value in arrays.items() if name.startswith('raw/')}
    found = qlearning_dataset_with_timeouts(None, raw, terminate_on_end=True)
    expected = {name.removeprefix('qlearning/') for name in arrays if name.startswith('qlearning/')}
    assert set(found) == expected
    for name, column in found.items():
        np.testing.assert_array_equal(column, arrays[f'qlearning/{name}'])
        assert column.dtype == arrays[f'qlearning/{name}'].dtype


def test_the_last_row_has_no_successor_and_the_clock_ends_an_episode():
    found = qlearning_dataset_with_timeouts(SimpleNamespace(get_dataset=steps), terminate_on_end=True)
    np.testing.assert_array_equal(found['observations'][:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(found['next_observations'][:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(found['rewards'], [[0], [10], [20], [30]])
    np.testing.assert_array_equal(found['terminals'], [[False], [True], [False], [True]])
    np.testing.assert_array_equal(found['realterminals'], [[False], [True], [False], [False]])


def test_without_terminate_on_end_the_step_at_which_the_clock_ran_out_is_dropped():
    found = qlearning_dataset_with_timeouts(None, steps())
    np.testing.assert_array_equal(found['observations'][:, 0], [0, 1, 2])
    np.testing.assert_array_equal(found['next_observations'][:, 0], [1, 2, 3])
    np.testing.assert_allclose(found['actions'][:, 0], [0, 0.1, 0.2])
    np.testing.assert_array_equal(found['rewards'], [[0], [10], [20]])
    np.testing.assert_array_equal(found['terminals'], [[False], [True], [False]])
