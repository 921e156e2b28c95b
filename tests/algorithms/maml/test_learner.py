"""Adaptation and meta-updates: the reference's numbers, and those of differentiating through the adaptation."""

import numpy as np
import pytest
import torch
from torch.distributions import kl_divergence

from tests.models.test_policies import close, make_policy
from tests.rollouts.test_batch_episodes import episodes_of, stack
from tests.support import golden
from trajectory.algorithms.maml.baseline import masked_mean
from trajectory.algorithms.maml.learner import MetaLearner, MetaObjective
from trajectory.algorithms.maml.trpo import conjugate_gradient
from trajectory.models.policies import NormalMLPPolicy, flatten, unflatten
from trajectory.rollouts.batch_episodes import BatchEpisodes

KINDS, ORDERS = ('normal', 'categorical'), ('second_order', 'first_order')


def make_learner(numbers, kind, order='second_order', dtype=torch.float64):
    settings = numbers[f'{kind}/settings']
    policy = make_policy(numbers, kind).to(dtype)
    options = {name: settings[name] for name in ('gamma', 'tau', 'fast_lr')}
    return MetaLearner(policy, **options, first_order=order == 'first_order'), settings


def rate_tasks(learner, numbers, kind, dtype=torch.float64):
    """Rated train and valid episodes of the three golden tasks."""
    train, valid = (
        stack([episodes_of(numbers, f'{kind}/task{m}/{part}/', dtype) for m in range(3)]) for part in ('train', 'valid')
    )
    baseline = learner.fit_baseline(train)
    return learner.rate(train, baseline), learner.rate(valid, baseline)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_the_inner_step_is_the_references(kind, dtype, tolerance):
    numbers = golden('meta/inner')
    learner, _ = make_learner(numbers, kind, dtype=dtype)
    rated = learner.rate(stack([episodes_of(numbers, f'{kind}/')]))
    params = learner.expand(learner.policy.params, 1)
    assert close(rated.advantages[0], numbers[f'{kind}/advantages'], tolerance)
    assert close(learner.inner_loss(rated, params)[0], numbers[f'{kind}/loss'], tolerance)
    gradient = learner.derivatives(rated, params).gradient
    flat = torch.cat([gradient[name].flatten() for name in learner.policy.params])
    assert close(flat, numbers[f'{kind}/gradient'], tolerance)
    adapted = learner.adapt(rated, params)
    for name, value in adapted.items():
        assert close(value[0], numbers[f'{kind}/adapted/{name}'], tolerance)
    assert close(learner.inner_loss(rated, adapted)[0], numbers[f'{kind}/loss_adapted'], tolerance)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('order', ORDERS)
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_gradients_and_products_are_the_references(kind, order, dtype, tolerance):
    numbers = golden('meta/outer')
    learner, settings = make_learner(numbers, kind, order, dtype)
    train, valid = rate_tasks(learner, numbers, kind, dtype)
    objective = MetaObjective(learner, [train], valid)
    for m in range(3):
        assert close(valid.advantages[m], numbers[f'{kind}/task{m}/valid/advantages'], max(tolerance, 1e-8))
        adapted = torch.cat([value[0].flatten() for value in objective.chunks[m].adapted.values()])
        assert close(adapted, numbers[f'{kind}/task{m}/adapted'], tolerance)
    gradient, key = objective.gradient(), f'{kind}/{order}'
    assert close(gradient, numbers[f'{key}/gradient'], tolerance)
    other = ORDERS[order == 'second_order']
    assert not close(gradient, numbers[f'{kind}/{other}/gradient'], 0.01)
    for vector, product in zip(numbers[f'{kind}/vectors'], numbers[f'{key}/hessian_vector_products'], strict=True):
        assert close(objective.damped(settings['cg_damping'])(torch.tensor(vector).double()), product, tolerance)
    if order == 'second_order':
        damped = numbers[f'{key}/hessian_vector_products_damping_0.1']
        for vector, product in zip(numbers[f'{kind}/vectors'], damped, strict=True):
            assert close(objective.damped(0.1)(torch.tensor(vector).double()), product, tolerance)
    assert abs(objective.old_loss - numbers[f'{kind}/surrogate_loss']) < 1e-7
    assert objective.old_kl == pytest.approx(numbers[f'{kind}/kl'], abs=1e-7)
    moved = flatten(learner.policy.params).detach() + 0.05 * torch.tensor(numbers[f'{kind}/vectors'][0]).to(dtype)
    if order == 'second_order':
        loss, divergence = objective.evaluate(moved)
        assert loss == pytest.approx(float(numbers[f'{kind}/moved_surrogate_loss']), abs=max(tolerance / 10, 1e-9))
        assert divergence == pytest.approx(float(numbers[f'{kind}/moved_kl']), rel=max(tolerance, 1e-5))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('order', ORDERS)
def test_the_step_is_the_references(kind, order):
    numbers, key = golden('meta/outer'), f'{kind}/{order}'
    learner, settings = make_learner(numbers, kind, order)
    train, valid = rate_tasks(learner, numbers, kind)
    objective = MetaObjective(learner, [train], valid)
    for iterations in (1, 3, 10):
        x, _ = conjugate_gradient(objective.damped(settings['cg_damping']), objective.gradient(), iterations)
        assert close(x, numbers[f'{key}/cg_solution_{iterations}'], 1e-6 if iterations == 10 else 1e-9)
    names = ('max_kl', 'cg_iters', 'cg_damping', 'ls_max_steps', 'ls_backtrack_ratio')
    step = learner.step([train], valid, **{name: settings[name] for name in names})
    assert close(step.step, numbers[f'{key}/step'], 1e-6)
    assert step.size.shs == pytest.approx(float(numbers[f'{key}/shs']), rel=1e-6)
    assert step.size.lagrange_multiplier == pytest.approx(float(numbers[f'{key}/lagrange_multiplier']), rel=1e-6)
    assert np.array(step.search.tries) == pytest.approx(numbers[f'{key}/line_search'], rel=1e-6)
    assert step.search.accepted == numbers[f'{key}/accepted']
    assert close(flatten(learner.policy.params), numbers[f'{key}/final_parameters'], 1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_a_refused_step_leaves_the_weights_bit_for_bit(kind):
    numbers = golden('meta/outer')
    learner, settings = make_learner(numbers, kind)
    train, valid = rate_tasks(learner, numbers, kind)
    before = flatten(learner.policy.params).clone()
    step = learner.step([train], valid, settings['max_kl'], ls_max_steps=1)
    assert not step.accepted
    assert torch.equal(flatten(learner.policy.params), before)
    assert np.array_equal(before.detach(), numbers[f'{kind}/second_order/final_parameters_one_try'])


def make_problem(n_steps, first_order, seed=0):
    """A learner with `n_steps` inner steps, and made-up episodes of four tasks, in 64 bits."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    torch.manual_seed(seed)
    learner = MetaLearner(NormalMLPPolicy(3, 2, (6,), 'tanh').double(), fast_lr=0.2, first_order=first_order)
    rated = []
    for _ in range(n_steps + 1):
        lengths = torch.randint(3, 8, (4, 5), generator=generator)
        episodes = BatchEpisodes(draw(4, 8, 5, 3), draw(4, 8, 5, 2), draw(4, 8, 5), lengths)
        rated.append(learner.rate(episodes))
    return learner, rated[:-1], rated[-1]


def differentiate_through(learner, train, valid, vector):
    """∇J and ∇²KL v by automatic differentiation through every inner step: the slow way, and the definition."""
    params = {name: value.detach().clone().requires_grad_() for name, value in learner.policy.params.items()}
    losses, divergences = [], []
    for m in range(4):
        own = params
        for rated in train:
            log_probs = learner.policy(rated.episodes.observations[m], own).log_prob(rated.episodes.actions[m])
            loss = -masked_mean(log_probs * rated.advantages[m], rated.episodes.mask[m])
            own = learner.policy.update_params(loss, learner.fast_lr, learner.first_order, own)
        new = learner.policy(valid.episodes.observations[m], own)
        old = learner.policy(valid.episodes.observations[m], {name: value.detach() for name, value in own.items()})
        ratio = torch.exp(new.log_prob(valid.episodes.actions[m]) - old.log_prob(valid.episodes.actions[m]))
        losses.append(-masked_mean(ratio * valid.advantages[m], valid.episodes.mask[m]))
        divergences.append(masked_mean(kl_divergence(new, old), valid.episodes.mask[m]))
    leaves = list(params.values())
    gradient = torch.autograd.grad(sum(losses) / 4, leaves, retain_graph=True)
    of_divergence = torch.autograd.grad(sum(divergences) / 4, leaves, create_graph=True)
    dot = torch.cat([part.flatten() for part in of_divergence]) @ vector
    product = torch.autograd.grad(dot, leaves)
    return (torch.cat([part.flatten() for part in parts]) for parts in (gradient, product))


@pytest.mark.parametrize('n_steps', [1, 2, 3])
@pytest.mark.parametrize('first_order', [False, True])
def test_the_product_in_parts_is_exact(n_steps, first_order):
    learner, train, valid = make_problem(n_steps, first_order)
    vector = torch.randn(len(flatten(learner.policy.params)), dtype=torch.float64)
    gradient, product = differentiate_through(learner, train, valid, vector)
    objective = MetaObjective(learner, train, valid)
    assert torch.allclose(objective.gradient(), gradient, rtol=1e-9, atol=1e-12)
    assert torch.allclose(objective.hessian_vector_product(vector), product, rtol=1e-9, atol=1e-12)


def test_products_agree_with_central_differences():
    learner, train, valid = make_problem(1, first_order=False)
    objective, theta = MetaObjective(learner, train, valid), flatten(learner.policy.params).detach()
    vector = torch.randn_like(theta)
    vector /= vector.norm()
    loss = [objective.evaluate(theta + sign * 1e-5 * vector)[0] for sign in (1, -1)]
    assert (loss[0] - loss[1]) / 2e-5 == pytest.approx(float(objective.gradient() @ vector), rel=1e-6)
    divergence = objective.evaluate(theta + 1e-3 * vector)[1] + objective.evaluate(theta - 1e-3 * vector)[1]
    assert divergence / 1e-6 == pytest.approx(float(vector @ objective.hessian_vector_product(vector)), rel=1e-4)


def test_more_padding_changes_nothing():
    learner, (train,), valid = make_problem(1, first_order=False)
    vector = torch.randn(len(flatten(learner.policy.params)), dtype=torch.float64)

    def pad(rated):
        parts = (rated.episodes.observations, rated.episodes.actions, rated.episodes.rewards)
        padded = [torch.cat([part, torch.zeros_like(part)], dim=1) for part in parts]
        return learner.rate(BatchEpisodes(*padded, rated.episodes.lengths))

    objectives = [MetaObjective(learner, [train], valid), MetaObjective(learner, [pad(train)], pad(valid))]
    products = [objective.hessian_vector_product(vector) for objective in objectives]
    assert torch.allclose(*products, rtol=1e-11)
    assert torch.allclose(*(objective.gradient() for objective in objectives), rtol=1e-11)


def test_adaptation_without_a_step_size_of_its_own_takes_the_learners():
    learner, (train,), _ = make_problem(1, first_order=False)
    params = learner.expand(learner.policy.params, 4)
    once, half = learner.adapt(train, params), learner.adapt(train, params, 0.1)
    for name in params:
        assert torch.allclose(once[name] - params[name], 2 * (half[name] - params[name]), atol=1e-12)
    assert unflatten(flatten(learner.policy.params), learner.policy.params).keys() == params.keys()
