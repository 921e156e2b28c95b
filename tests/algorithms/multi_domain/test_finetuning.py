"""Fine-tuning methods: what learns, what stays byte for byte, what is added, what is anchored."""

from typing import get_args

import pytest
import torch

from config.continual import METHODS
from trajectory.algorithms.multi_domain.finetuning import (
    FINETUNING,
    Anchors,
    add_modulators,
    find_finetuning,
    fisher_information,
    freeze,
    parameter_groups,
)
from trajectory.algorithms.multi_domain.policy import Policy
from trajectory.models.multi_domain import MultiDomainTransformer, Sequences, action_loss
from trajectory.models.tokens import ActionTokens
from trajectory.utils.errors import InputError

B, K, S, A = 6, 2, 7, 3


@pytest.fixture
def policy():
    torch.manual_seed(0)
    model = MultiDomainTransformer(S, A, 8, 16, 2, 2, 20, 0.0)
    return Policy(model, ActionTokens(8), (torch.zeros(S), torch.ones(S)), K)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return Sequences(torch.randn(B, K, S), torch.randint(0, 8, (B, K, A)), torch.randn(B, K), torch.randn(B, K),
                     torch.arange(K).repeat(B, 1), torch.ones(B, K))  # fmt: skip


def loss_of(policy, batch):
    ids = None
    if policy.pool is not None:
        ids = policy.pool.train().choose(policy.model.query(policy.model.embed(batch), batch.mask)).ids[:, 0]
    logits = policy.model(batch, policy.modulator, ids).actions
    return action_loss(logits, batch.actions, torch.ones(B, K, A))


@pytest.mark.parametrize('name', FINETUNING)
def test_what_is_frozen_stays_byte_for_byte_and_the_rest_learns(policy, batch, name):
    method, model = find_finetuning(name), policy.model
    add_modulators(policy, method, 6, 2, 3)
    freeze(policy, method)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        plain = model(batch).actions
        start = loss_of(policy, batch).item()
    optimizer = torch.optim.AdamW(parameter_groups(policy, 0.01), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        loss_of(policy, batch).backward()
        optimizer.step()
    learns = {key for key, value in model.named_parameters() if value.requires_grad}
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed <= learns
    assert bool(changed) == bool(method.learns)
    if name == 'action_head':
        assert changed == {'action_net.0.weight', 'action_net.0.bias'}
    if name == 'last_layers':
        assert all(key.startswith(('encoder.h.1.', 'encoder.ln_f.', 'action_net.')) for key in changed)
    with torch.no_grad():
        assert loss_of(policy, batch).item() < start
        if method.modulator:
            policy.is_on = False
            assert policy.modulator is None
            assert torch.equal(model(batch, policy.modulator).actions, plain)


def test_matrices_decay_and_what_is_added_does_not(policy):
    method = find_finetuning('full')
    freeze(policy, method)
    decayed, others = parameter_groups(policy, 0.1)
    assert decayed['weight_decay'] == 0.1
    assert all(parameter.ndim == 2 for parameter in decayed['params'])
    assert sum(p.numel() for group in (decayed, others) for p in group['params']) == sum(
        p.numel() for p in policy.model.parameters()
    )
    add_modulators(policy, find_finetuning('l2m_lora'), 4, 0, 1)
    freeze(policy, find_finetuning('l2m_lora'))
    (only,) = parameter_groups(policy, 0.1)
    assert only['weight_decay'] == 0


def test_the_fisher_information_is_the_mean_squared_gradient(policy, batch):
    freeze(policy, find_finetuning('action_head'))
    losses = [loss_of(policy, batch), 2 * loss_of(policy, batch)]
    importance = fisher_information(policy.model, losses)
    (gradient,) = torch.autograd.grad(loss_of(policy, batch), [policy.model.action_net[0].weight])
    assert set(importance) == {'action_net.0.weight', 'action_net.0.bias'}
    assert torch.allclose(importance['action_net.0.weight'], gradient**2 * (1 + 4) / 2, rtol=1e-4)


def test_anchors_of_all_earlier_tasks_hold(policy):
    freeze(policy, find_finetuning('action_head'))
    anchors, bias = Anchors(penalty=10), policy.model.action_net[0].bias
    assert anchors.loss(policy.model) == 0
    with torch.no_grad():
        bias.zero_()
        anchors.add(policy.model, None)
        bias += 1
        importance = {name: torch.full_like(p, 0.5) for name, p in policy.model.named_parameters() if p.requires_grad}
        anchors.add(policy.model, importance)
        bias += 1
    assert anchors.loss(policy.model).item() == pytest.approx(10 * 8 * (2**2 + 0.5 * 1**2))


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="no fine-tuning method 'lorra'"):
        find_finetuning('lorra')


def test_the_flag_names_every_method():
    assert set(get_args(METHODS)) == set(FINETUNING)
