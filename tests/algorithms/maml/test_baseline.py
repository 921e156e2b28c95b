"""The linear baseline, and generalized advantages: the reference's numbers."""

import numpy as np
import pytest
import torch

from tests.rollouts.test_batch_episodes import episodes_of, stack
from tests.support import golden
from trajectory.algorithms.maml.baseline import LinearFeatureBaseline, normalize
from trajectory.rollouts.batch_episodes import BatchEpisodes


@pytest.fixture(scope='module')
def numbers():
    return golden('meta/baseline_gae')


@pytest.mark.parametrize('problem', ['mixed', 'bandit', 'navigation'])
@pytest.mark.parametrize('gamma', [0.95, 0.99])
def test_features_weights_values_and_advantages_are_the_references(numbers, problem, gamma):
    episodes = episodes_of(numbers, f'{problem}/')
    baseline = LinearFeatureBaseline(episodes.observations.shape[-1])
    assert baseline.features(episodes).numpy() == pytest.approx(numbers[f'{problem}/features'], abs=1e-10)
    baseline.fit(episodes, gamma)
    key = f'{problem}/gamma_{gamma}'
    assert baseline.weights.numpy() == pytest.approx(numbers[f'{key}/weights'], rel=1e-6)
    assert baseline.values(episodes).numpy() == pytest.approx(numbers[f'{key}/values'], abs=1e-8)
    for tau in (1, 0.95):
        advantages = baseline.advantages(episodes, gamma, tau)
        assert advantages.numpy() == pytest.approx(numbers[f'{key}/tau_{tau}/advantages'], abs=1e-8)
        normalized = normalize(advantages, episodes.mask)
        assert normalized.numpy() == pytest.approx(numbers[f'{key}/tau_{tau}/normalized'], abs=1e-8)


def test_each_task_has_weights_of_its_own(numbers):
    first = episodes_of(numbers, 'navigation/')
    second = BatchEpisodes(first.observations, first.actions, -2 * first.rewards, first.lengths)
    together, alone = LinearFeatureBaseline(2), LinearFeatureBaseline(2)
    together.fit(stack([first, second]), 0.95)
    alone.fit(second, 0.95)
    assert torch.allclose(together.weights[1], alone.weights, rtol=1e-6)
    assert torch.allclose(together.advantages(stack([first, second]), 0.95, 1.0)[1],
                          alone.advantages(second, 0.95, 1.0))  # fmt: skip


def test_a_ridge_that_does_not_solve_is_made_larger(monkeypatch):
    """Ten times at each of five tries, where the solver reports a failure."""
    episodes = BatchEpisodes(torch.zeros(1, 4, 1), torch.zeros(1, 4), torch.ones(1, 4), torch.ones(4, dtype=torch.long))
    solve, asked = torch.linalg.solve_ex, []

    def failing(matrix, moments):
        asked.append(matrix[0, 0].item())  # of an observation that is always 0: the ridge alone
        weights, info = solve(matrix, moments)
        return weights, info + (len(asked) < 3)

    monkeypatch.setattr(torch.linalg, 'solve_ex', failing)
    baseline = LinearFeatureBaseline(1, reg_coeff=1e-5)
    baseline.fit(episodes, 0.95)
    assert asked == pytest.approx([1e-5, 1e-4, 1e-3])
    assert baseline.values(episodes).numpy() == pytest.approx(np.ones((1, 4)), abs=1e-3)


def test_returns_that_the_features_span_are_predicted():
    steps = torch.arange(1.0, 31)[:, None, None] / 100
    rewards = torch.diff(torch.cat([torch.zeros(1, 1), 3 + 2 * steps[:, :, 0].flip(0)]), dim=0).flip(0)
    episodes = BatchEpisodes(torch.zeros(30, 1, 1), torch.zeros(30, 1), rewards, torch.tensor([30]))
    baseline = LinearFeatureBaseline(1)
    baseline.fit(episodes, 1.0)
    assert baseline.values(episodes).numpy() == pytest.approx(episodes.returns(1.0).numpy(), abs=5e-4)
