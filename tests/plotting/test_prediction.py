"""How predictions are summed up, and films named."""

import numpy as np

from plotting.prediction import name_frames, summarize


def test_the_table_says_how_many_times_closer():
    table = summarize({'a': np.full((4, 50), 0.5), 'b': np.full((4, 50), 1.5)})
    assert [line.split()[-1] for line in table.splitlines()] == ['50', '0.500', '1.500', '3.00']


def test_a_name_stands_above_frames_which_stay_as_they_are():
    frames = np.full((3, 40, 64, 3), 7, dtype=np.uint8)
    named = name_frames(frames, 'truth')
    assert named.shape == (3, 60, 64, 3)
    assert (named[:, 20:] == 7).all()
    assert named[:, :20].min() < 128 < named[:, :20].max()
