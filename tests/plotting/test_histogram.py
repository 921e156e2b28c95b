"""A histogram of returns shows every episode, whatever the returns are."""

import numpy as np
import pytest
from matplotlib.image import imread

from plotting.histogram import draw_returns

COLOR, MEAN_COLOR = [0.227, 0.427, 0.710], [0.851, 0.510, 0.169]


def pixels(path, color):
    """Rows and columns of the pixels of this colour."""
    return np.nonzero(np.isclose(imread(path)[..., :3], color, atol=0.02).all(axis=-1))


def test_bars_stand_where_the_returns_are(tmp_path):
    draw_returns(np.array([0.0] * 50 + [1000.0] * 150), 'two peaks', tmp_path / 'returns.png')
    rows, columns = pixels(tmp_path / 'returns.png', COLOR)
    middle = (columns.min() + columns.max()) / 2
    heights = [np.ptp(rows[side]) for side in (columns < middle, columns > middle)]
    assert heights[1] == pytest.approx(3 * heights[0], rel=0.03)
    mean = pixels(tmp_path / 'returns.png', MEAN_COLOR)[1].min()
    assert middle < mean < columns.max()


@pytest.mark.parametrize('returns', [[7.0], [7.0] * 30, [0.0] * 300 + [1e9], [-5.0, -3.0], [1e-6, 2e-6]])
@pytest.mark.parametrize('scored', [True, False])
def test_odd_returns_are_drawn(tmp_path, returns, scored):
    returns = np.array(returns)
    draw_returns(returns, 'odd', tmp_path / 'returns.png', (returns + 20) / 3000 if scored else None)
    assert len(pixels(tmp_path / 'returns.png', COLOR)[0]) > 500
    assert [path.name for path in tmp_path.iterdir()] == ['returns.png']
