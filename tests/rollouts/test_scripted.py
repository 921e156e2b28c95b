"""Hand-written policies record episodes, the same for equal seeds, intended actions under disturbed ones."""

import numpy as np
import pytest

from trajectory.environments.suites.registry import find_task
from trajectory.rollouts.scripted import record_scripted


def test_episodes_are_whole_and_tell_success():
    pytest.importorskip('metaworld')
    columns = record_scripted(find_task('reach-v3'), 2, seed=5)
    assert columns['observations'].shape == (400, 39)
    assert np.flatnonzero(columns['timeouts']).tolist() == [199, 399]
    assert not columns['terminals'].any()
    assert columns['successes'][[199, 399]].all()
    again = record_scripted(find_task('reach-v3'), 2, seed=5)
    assert all(np.array_equal(columns[name], again[name]) for name in columns)


def test_actions_are_disturbed_as_they_are_taken_and_recorded_as_intended():
    pytest.importorskip('dm_control')
    task = find_task('point_mass-easy')
    calm, both = record_scripted(task, 2, seed=0), record_scripted(task, 2, seed=0, noises=(0.0, 0.5))
    assert 'successes' not in both
    assert np.array_equal(calm['observations'][:1000], both['observations'][:1000])
    disturbed = both['observations'][1000:]
    assert not np.array_equal(calm['observations'][1000:], disturbed)
    intended = np.clip(-10 * disturbed[0, 41:43] - 3 * disturbed[0, 14:16], -1, 1)
    assert both['actions'][1000] == pytest.approx(intended, abs=1e-5)
