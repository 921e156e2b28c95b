"""Policies give the reference's distributions, gradients and updates."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support import golden
from trajectory.models.policies import (
    CategoricalMLPPolicy,
    NormalMLPPolicy,
    flatten,
    sample_actions,
    unflatten,
)

KINDS = {'normal': NormalMLPPolicy, 'categorical': CategoricalMLPPolicy}


def make_policy(numbers, kind):
    """The policy of golden numbers, in 64 bits."""
    config = numbers[f'{kind}/config']
    policy = KINDS[kind](config['input_size'], config['output_size'], tuple(config['hidden_sizes'])).double()
    names = list(policy.params)
    policy.load_state_dict({name: torch.tensor(numbers[f'{kind}/weight/{name}']).double() for name in names})
    return policy


@pytest.fixture(scope='module')
def numbers():
    return golden('meta/policy')


def close(actual: Tensor, expected, tolerance=1e-10):
    expected = np.asarray(expected, dtype=np.float64)
    scale = max(1e-12, np.abs(expected).max())
    return np.abs(actual.detach().numpy() - expected).max() <= tolerance * scale


@pytest.mark.parametrize('kind', KINDS)
def test_distributions_and_gradients_are_the_references(numbers, kind):
    policy = make_policy(numbers, kind)
    distribution = policy(torch.tensor(numbers[f'{kind}/observations']).double())
    actions = torch.tensor(numbers[f'{kind}/actions'])
    log_prob = numbers[f'{kind}/log_prob']
    assert close(distribution.log_prob(actions), log_prob.sum(-1) if kind == 'normal' else log_prob)
    if kind == 'normal':
        assert close(distribution.mean, numbers['normal/mean'])
        assert close(distribution.stddev, numbers['normal/std'])
    else:
        assert close(distribution.probs, numbers['categorical/probs'])
    loss = -(torch.tensor(numbers[f'{kind}/weights1']) * distribution.log_prob(actions)).mean()
    assert close(loss, numbers[f'{kind}/loss'])
    gradient = torch.autograd.grad(loss, list(policy.parameters()))
    assert close(torch.cat([part.flatten() for part in gradient]), numbers[f'{kind}/gradient'])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', ['0.1', '0.5'])
@pytest.mark.parametrize('first_order', [False, True])
def test_updates_and_the_gradients_through_them_are_the_references(numbers, kind, size, first_order):
    policy, step = make_policy(numbers, kind), f'{kind}/step_{size}'
    observations = torch.tensor(numbers[f'{kind}/observations']).double()
    actions = torch.tensor(numbers[f'{kind}/actions'])
    weights = [torch.tensor(numbers[f'{kind}/weights{n}']).double() for n in (1, 2)]
    loss = -(weights[0] * policy(observations).log_prob(actions)).mean()
    updated = policy.update_params(loss, float(size), first_order)
    for name, value in updated.items():
        assert close(value, numbers[f'{step}/updated/{name}'])
    after = policy(observations, updated)
    loss = -(weights[1] * after.log_prob(actions)).mean()
    assert close(loss, numbers[f'{step}/loss2'])
    gradient = torch.autograd.grad(loss, list(policy.parameters()))
    expected = numbers[f'{step}/meta_gradient{"_first_order" if first_order else ""}']
    assert close(torch.cat([part.flatten() for part in gradient]), expected)
    other = numbers[f'{step}/meta_gradient{"" if first_order else "_first_order"}']
    assert not close(torch.cat([part.flatten() for part in gradient]), other, 1e-3)


def test_a_deviation_below_the_least_is_clamped_and_has_no_gradient(numbers):
    policy = make_policy(numbers, 'normal')
    with torch.no_grad():
        policy.sigma.copy_(torch.tensor(numbers['normal/low_sigma']))
    std = policy(torch.tensor(numbers['normal/observations']).double()).stddev
    assert close(std[0, 0], numbers['normal/low_std'])
    (gradient,) = torch.autograd.grad(std.sum(), policy.sigma)
    assert close(gradient, numbers['normal/low_sigma_gradient'])


@pytest.mark.parametrize('kind', KINDS)
def test_each_task_acts_by_parameters_of_its_own(kind):
    policy = KINDS[kind](3, 4, (8,), 'tanh')
    params = {name: torch.randn(5, *value.shape) for name, value in policy.params.items()}
    observations = torch.randn(5, 7, 3)
    together = policy.forward_tasks(observations, params)
    for m in range(5):
        alone = policy(observations[m], {name: value[m] for name, value in params.items()})
        assert torch.allclose(together.mean[m] if kind == 'normal' else together.probs[m],
                              alone.mean if kind == 'normal' else alone.probs, atol=1e-5)  # fmt: skip


def test_actions_are_drawn_from_the_distribution():
    generator = torch.Generator().manual_seed(0)
    normal = NormalMLPPolicy(2, 1, init_std=0.5)
    draws = sample_actions(normal(torch.zeros(20_000, 2)), generator)
    assert draws.std().item() == pytest.approx(0.5, rel=0.03)
    categorical = CategoricalMLPPolicy(2, 3)
    with torch.no_grad():
        categorical.layer1.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    draws = sample_actions(categorical(torch.zeros(20_000, 2)), generator)
    shares = torch.bincount(draws, minlength=3) / len(draws)
    assert torch.allclose(shares, torch.tensor([0.0, 1.0, 2.0]).softmax(0), atol=0.015)


def test_weights_start_xavier_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    policy = NormalMLPPolicy(50, 7, (60,))
    limit = (6 / (50 + 60)) ** 0.5
    assert 0.98 * limit < policy.layer1.weight.abs().max() <= limit
    assert not policy.layer1.bias.any()
    assert not policy.sigma.any()
    assert next(iter(policy.params)) == 'sigma'


def test_a_vector_of_parameters_is_read_back():
    policy = CategoricalMLPPolicy(3, 4, (5,))
    vector = flatten(policy.params)
    assert len(vector) == 3 * 5 + 5 + 5 * 4 + 4
    assert all(torch.equal(value, policy.params[name]) for name, value in unflatten(vector, policy.params).items())
