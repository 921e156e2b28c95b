"""The columns of a transition lie side by side, in the order of its name."""

import numpy as np
import pytest

from trajectory.utils.layout import TransitionLayout


@pytest.mark.parametrize('dims', [(17, 6), (1, 1), (27, 8)])
def test_every_column_belongs_to_exactly_one_part(dims):
    layout = TransitionLayout(*dims)
    columns = np.arange(layout.dim)
    parts = [columns[layout.observation], columns[layout.action], [layout.reward], [layout.value]]
    np.testing.assert_array_equal(np.concatenate(parts), columns)


def test_halfcheetah_has_25_columns():
    layout = TransitionLayout(observation_dim=17, action_dim=6)
    assert layout.dim == 25
    assert (layout.observation, layout.action) == (slice(0, 17), slice(17, 23))
    assert (layout.reward, layout.value) == (23, 24)
