"""Candidates ranked by a Q-function: rewards so far, and the discounted Q of the last observation and action."""

import numpy as np
import pytest
import torch

from tests.models.test_transformers import TINY
from tests.support import make_gpt
from trajectory.datasets.discretization import QuantileDiscretizer, UniformDiscretizer
from trajectory.search import search
from trajectory.search.q_values import QRanking
from trajectory.search.settings import SearchSettings
from trajectory.utils.errors import InputError


@pytest.fixture(scope='module')
def parts():
    torch.manual_seed(3)
    model = make_gpt(TINY)
    for parameter in model.parameters():  # far from uniform, so that candidates differ
        parameter.data += 0.3 * torch.randn(parameter.shape)
    data = np.random.default_rng(0).normal(size=(500, model.layout.dim))
    return model, UniformDiscretizer(data, model.vocab_size)


def fake_q(observations, actions):
    first = 2 * observations.sum(dim=-1) + actions[:, 0] ** 2
    return torch.stack([first, first + 1])


def test_reward_and_discounted_value_are_q_of_the_last_transition(parts):
    model, discretizer = parts
    layout = model.layout
    ranking = QRanking(fake_q, discretizer, layout, discount=0.5, reward_scale=3.0, reward_shift=-1.0)
    tokens = torch.randint(0, discretizer.N + 1, (7, 3 * layout.dim))
    probs = torch.rand(7, 2, discretizer.N + 1)
    reward, value = ranking(probs, tokens)
    numbers = torch.as_tensor(discretizer.reconstruct(tokens[:, -layout.dim :]))
    expected = fake_q(numbers[:, layout.observation], numbers[:, layout.action])[0]
    torch.testing.assert_close(reward + 0.5 * value, expected.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(reward, 3 * discretizer.value_fn(probs, 'mean')[0] - 1)


def test_q_is_asked_about_the_actions_that_would_be_taken(parts):
    model, _ = parts
    layout = model.layout
    data = np.random.default_rng(0).normal(size=(500, layout.dim)).clip(-0.5, 0.5)
    discretizer = QuantileDiscretizer(data, model.vocab_size).with_repeats()
    asked = []

    def q(observations, actions):
        asked.append(torch.cat([observations, actions], dim=1))
        return fake_q(observations, actions)

    tokens = torch.as_tensor(discretizer.discretize(np.full((1, layout.dim), -0.5)))
    QRanking(q, discretizer, layout, discount=0.9)(torch.rand(1, 2, discretizer.N + 1), tokens)
    assert (asked[0] == -0.5).all()


@pytest.mark.parametrize('horizon', [1, 3])
def test_a_search_keeps_the_candidate_of_highest_rewards_and_q(parts, horizon):
    """The oracle: each candidate alone, its value computed from its numbers."""
    model, discretizer = parts
    layout, settings = model.layout, SearchSettings(horizon, 1, 24, discount=0.9, k_rew=1)
    seen = []

    class Spy(QRanking):
        def __call__(self, probs, tokens):
            reward, value = super().__call__(probs, tokens)
            seen.append((reward, tokens.clone()))
            return reward, value

    ranking = Spy(fake_q, discretizer, layout, discount=0.9)
    prefix = torch.randint(0, discretizer.N, (1, layout.observation_dim))
    plan = search(model, ranking, prefix, settings, generator=torch.Generator().manual_seed(1))
    _, tokens = seen[-1]
    numbers = torch.as_tensor(discretizer.reconstruct(tokens[:, -layout.dim :]))
    q = fake_q(numbers[:, layout.observation], numbers[:, layout.action])[0]
    best = q.argmax()  # of one parent, so what came before is the same
    assert torch.equal(plan[-1], tokens[best, -layout.dim :])
    assert q.max() > q.median()


def test_without_a_discount_it_is_refused(parts):
    model, discretizer = parts
    with pytest.raises(InputError, match='discount of 0'):
        QRanking(fake_q, discretizer, model.layout, discount=0.0)
