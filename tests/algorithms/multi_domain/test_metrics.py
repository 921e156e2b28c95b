"""Forgetting, averages and scores are the original's."""

import numpy as np
import pytest

from tests.support import golden
from trajectory.algorithms.multi_domain.metrics import forgetting, interquartile_mean, normalized

NUMBERS = golden('continual/metrics')


def test_forgetting_is_the_originals():
    lost, mean = forgetting(NUMBERS['scores'], NUMBERS['current_task'])
    assert lost == pytest.approx(NUMBERS['forgetting'], rel=1e-5, abs=1e-7, nan_ok=True)
    assert mean == pytest.approx(NUMBERS['mean_forgetting'], rel=1e-5, abs=1e-7, nan_ok=True)


def test_averages_are_the_originals():
    assert NUMBERS['scores'].mean(1) == pytest.approx(NUMBERS['average'], rel=1e-5)
    assert [interquartile_mean(row) for row in NUMBERS['scores']] == pytest.approx(NUMBERS['iqm'].tolist(), rel=1e-5)
    assert interquartile_mean(NUMBERS['iqm_input']) == pytest.approx(float(NUMBERS['iqm_output']), rel=1e-5)


@pytest.mark.parametrize('kind', ['data', 'human'])
def test_scores_are_the_originals(kind):
    high = NUMBERS['data_mean' if kind == 'data' else 'human_human']
    scores = normalized(NUMBERS[f'{kind}_raw'], NUMBERS[f'{kind}_random'], high)
    assert scores == pytest.approx(NUMBERS[f'{kind}_score'], rel=1e-5, abs=1e-6)


def test_a_task_that_is_learned_late_is_not_yet_forgotten():
    lost, _ = forgetting(np.array([[1.0, 0.0], [0.5, 1.0]]), np.array([0, 1]))
    assert np.isnan(lost[0]).all()
    assert lost[1].tolist() == [0.5, 0.0]
