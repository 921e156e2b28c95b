"""Derivatives written out layer by layer equal those of automatic differentiation."""

import pytest
import torch
from torch.distributions import kl_divergence

from trajectory.algorithms.maml.curvature import PolicyDerivatives
from trajectory.models.policies import CategoricalMLPPolicy, NormalMLPPolicy

M, N = 3, 11


@pytest.fixture(params=['relu', 'tanh'])
def nonlinearity(request):
    return request.param


@pytest.fixture(params=[(), (7,), (6, 5), (4, 4, 4)], ids=str)
def hidden(request):
    return request.param


@pytest.fixture(params=['normal', 'clamped', 'categorical'])
def problem(request, hidden, nonlinearity):
    """A policy, parameters of each task, and the rest of what a loss takes, in 64 bits."""
    torch.manual_seed(0)
    kind = CategoricalMLPPolicy if request.param == 'categorical' else NormalMLPPolicy
    policy = kind(3, 4, hidden, nonlinearity).double()
    params = {name: 0.5 * torch.randn(M, *value.shape).double() for name, value in policy.params.items()}
    if request.param == 'clamped':
        params['sigma'][1, 2] = -20
    observations = torch.randn(M, N, 3).double()
    actions = torch.randint(0, 4, (M, N)) if request.param == 'categorical' else torch.randn(M, N, 4).double()
    if request.param == 'clamped':  # actions near their mean, or the density is 0
        means = policy.forward_tasks(observations, params).mean[1, :, 2].detach()
        actions[1, :, 2] = means + 1e-6 * torch.randn(N).double()
    mask = (torch.rand(M, N) < 0.8).double()
    return policy, params, observations, actions, torch.randn(M, N).double() * mask, mask


def by_autograd(problem, vectors):
    """Gradient, and products with the Hessian and with the divergence's, of each task."""
    policy, params, observations, actions, advantages, mask = problem
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    distribution = policy.forward_tasks(observations, leaves)
    loss = -((distribution.log_prob(actions) * advantages).sum(1) / mask.sum(1)).sum()
    old = policy.forward_tasks(observations, params)
    divergence = ((kl_divergence(distribution, old) * mask).sum(1) / mask.sum(1)).sum()
    results = []
    for value in (loss, divergence):
        gradient = torch.autograd.grad(value, list(leaves.values()), create_graph=True)
        dot = sum((one * vectors[name]).sum() for one, name in zip(gradient, leaves, strict=True))
        product = torch.autograd.grad(dot, list(leaves.values()), retain_graph=True, materialize_grads=True)
        results += [dict(zip(leaves, gradient, strict=True)), dict(zip(leaves, product, strict=True))]
    return results[0], results[1], results[3]


def test_gradients_and_products_are_exact(problem):
    policy, params, *_ = problem
    vectors = {name: torch.randn_like(value) for name, value in params.items()}
    derivatives = PolicyDerivatives(*problem)
    ours = (derivatives.gradient, derivatives.hessian_product(vectors), derivatives.fisher_product(vectors))
    for mine, exact in zip(ours, by_autograd(problem, vectors), strict=True):
        assert set(mine) == set(policy.params)
        for name in mine:
            assert torch.allclose(mine[name], exact[name], rtol=1e-9, atol=1e-12), name


def test_products_are_symmetric(problem):
    derivatives = PolicyDerivatives(*problem)
    first, second = ({name: torch.randn_like(value) for name, value in problem[1].items()} for _ in range(2))
    for product in (derivatives.hessian_product, derivatives.fisher_product):
        one, other = product(first), product(second)
        forth = sum(float((one[name] * second[name]).sum()) for name in one)
        back = sum(float((other[name] * first[name]).sum()) for name in one)
        assert forth == pytest.approx(back, rel=1e-10)
