"""The networks of actor-critic methods: shapes, bounds, slow copies, and what an expectile is."""

import math

import pytest
import torch

from trajectory.models.critics import ActorCritic, BoundedGaussianPolicy, QFunctions, expectile_loss


def test_the_lower_of_two_q_functions_counts():
    torch.manual_seed(0)
    q = QFunctions(3, 2, [16])
    observations, actions = 10 * torch.randn(64, 3), 10 * torch.randn(64, 2)
    both = q(observations, actions)
    assert both.shape == (2, 64)
    assert (both[0] < both[1]).any()
    assert (both[0] > both[1]).any()
    assert torch.equal(q.lower(observations, actions), torch.minimum(*both))


def test_a_policys_means_stay_in_their_box_and_its_density_is_the_normal_one():
    policy = BoundedGaussianPolicy(3, 2, [8])
    policy.low.copy_(torch.tensor([-1.0, 2.0]))
    policy.high.copy_(torch.tensor([1.0, 6.0]))
    means = policy(100 * torch.randn(50, 3))
    assert ((means >= policy.low) & (means <= policy.high)).all()
    assert means[:, 1].max() > 5
    with torch.no_grad():
        policy.log_std.fill_(math.log(0.5))
    observations = torch.zeros(1, 3)
    at_mean = policy.log_prob(observations, policy(observations)).item()
    assert at_mean == pytest.approx(-2 * math.log(0.5 * math.sqrt(2 * math.pi)), abs=1e-5)


def test_targets_start_equal_move_by_a_share_and_are_not_trained():
    networks = ActorCritic(3, 2, width=8)
    assert not any(parameter.requires_grad for parameter in networks.target_q.parameters())
    before = networks.target_q.weights[0].clone()
    assert torch.equal(before, networks.q.weights[0])
    with torch.no_grad():
        networks.q.weights[0].add_(1.0)
    networks.move_targets(0.25)
    torch.testing.assert_close(networks.target_q.weights[0], before + 0.25)


def test_observations_are_normalized_by_buffers_that_lie_with_the_weights():
    networks = ActorCritic(3, 2, width=8)
    networks.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    networks.std.fill_(2.0)
    observations, actions = torch.randn(5, 3), torch.randn(5, 2)
    normalized = (observations - torch.tensor([1.0, 2.0, 3.0])) / 2
    torch.testing.assert_close(networks.q_of(observations, actions), networks.q(normalized, actions))
    torch.testing.assert_close(networks.act(observations), networks.policy(normalized))
    assert {'mean', 'std'} <= networks.state_dict().keys()


@pytest.mark.parametrize(('expectile', 'found'), [(0.5, 2.0), (0.9, 5.0), (0.99, 5.88235)])
def test_the_minimum_of_the_loss_is_the_expectile(expectile, found):
    """Of 0, 0 and 6: τ·(6 − m) = (1 − τ)·2·m."""
    samples = torch.tensor([0.0, 0.0, 6.0], dtype=torch.double)
    at = torch.linspace(0, 6, 60001, dtype=torch.double)
    losses = torch.stack([expectile_loss(samples - m, expectile) for m in at[::60]])
    assert at[::60][losses.argmin()].item() == pytest.approx(6 * expectile / (2 - expectile), abs=0.01)
    assert 6 * expectile / (2 - expectile) == pytest.approx(found, abs=0.1)
