"""Padded batches of episodes: masks, returns, parts."""

import numpy as np
import pytest
import torch

from tests.support import golden
from trajectory.rollouts.batch_episodes import BatchEpisodes, discount, total_rewards


def episodes_of(numbers, prefix, dtype=torch.float64):
    """Golden episodes under a prefix."""
    rewards = torch.tensor(numbers[f'{prefix}rewards'])
    actions = numbers.get(f'{prefix}actions', np.zeros(rewards.shape))
    parts = (numbers[f'{prefix}observations'], actions)
    return BatchEpisodes(*map(torch.tensor, parts), rewards, torch.tensor(numbers[f'{prefix}lengths'])).to(dtype=dtype)


def stack(episodes):
    """Episodes of several tasks, of one length, in one batch."""
    names = ('observations', 'actions', 'rewards', 'lengths')
    return BatchEpisodes(*(torch.stack([getattr(one, name) for one in episodes]) for name in names))


@pytest.mark.parametrize('problem', ['mixed', 'bandit', 'navigation'])
@pytest.mark.parametrize('gamma', [0.95, 0.99])
def test_masks_and_returns_are_the_references(problem, gamma):
    numbers = golden('meta/baseline_gae')
    episodes = episodes_of(numbers, f'{problem}/')
    assert np.array_equal(episodes.mask.bool().numpy(), numbers[f'{problem}/mask'])
    expected = numbers[f'{problem}/gamma_{gamma}/returns']
    assert episodes.returns(gamma).numpy() == pytest.approx(expected, abs=1e-10)


def test_the_total_is_the_mean_over_episodes_of_undiscounted_sums():
    episodes = BatchEpisodes(torch.zeros(3, 2, 1), torch.zeros(3, 2), torch.ones(3, 2), torch.tensor([1, 3]))
    assert total_rewards(episodes) == 2
    assert total_rewards(stack([episodes, episodes])).tolist() == [2, 2]


def test_parts_are_cut_out():
    episodes = BatchEpisodes(
        torch.randn(4, 5, 2, 3), torch.randn(4, 5, 2), torch.randn(4, 5, 2), torch.tensor([[2, 1]] * 4)
    )
    part = episodes.cut(slice(1, 3), 2)
    assert part.observations.shape == (2, 2, 2, 3)
    assert torch.equal(part.task(1).rewards, episodes.rewards[2, :2])
    assert part.to(dtype=torch.float64).lengths.dtype == torch.int64


def test_sums_are_discounted_from_each_step_on():
    values = torch.tensor([[1.0], [2.0], [4.0]])
    assert discount(values, 0.5).flatten().tolist() == [3, 4, 4]
