"""The multi-domain Decision Transformer computes what the original computes."""

import numpy as np
import pytest
import torch

from tests.support import golden, state_of
from trajectory.models.multi_domain import MultiDomainTransformer, Sequences, action_loss

NUMBERS = golden('continual/sequence')


@pytest.fixture(scope='module')
def model():
    config = NUMBERS['config']
    model = MultiDomainTransformer(
        config['state_slots'], config['action_slots'], config['bins'], config['n_embd'], config['n_layer'],
        config['n_head'], 24, 0.0,
    ).eval()  # fmt: skip
    model.load_state_dict({name: torch.tensor(value) for name, value in state_of(NUMBERS).items()})
    return model


@pytest.fixture(scope='module')
def batch():
    parts = {name: torch.tensor(NUMBERS[f'batch/{name}']) for name in ('states', 'rtg', 'rewards', 'timesteps', 'mask')}
    tokens = torch.tensor(NUMBERS['action_tokens']).long()
    return Sequences(parts['states'], tokens, parts['rtg'][..., 0], parts['rewards'][..., 0],
                     parts['timesteps'].long(), parts['mask'])  # fmt: skip


def close(ours, name, mask, tolerance=1e-4):
    gap = (ours - torch.tensor(NUMBERS[name])).abs()
    return float(gap[mask > 0].max()) < tolerance


@torch.no_grad()
def test_tokens_hidden_states_and_predictions_are_the_originals(model, batch):
    tokens = model.embed(batch)
    assert close(tokens, 'inputs', batch.mask.repeat_interleave(9, 1))
    hidden = model.hidden(tokens, batch.mask)
    assert close(hidden.flatten(1, 2), 'hidden', batch.mask.repeat_interleave(9, 1))
    outputs = model(batch)
    for ours, name in zip(outputs, ('action_logits', 'return_prediction', 'reward_prediction'), strict=True):
        assert close(ours, name, batch.mask)


@torch.no_grad()
def test_losses_are_the_originals(model, batch):
    logits = model(batch).actions
    counted = torch.tensor(NUMBERS['batch/action_mask']) * batch.mask[..., None]
    assert action_loss(logits, batch.actions, counted).item() == pytest.approx(float(NUMBERS['loss']), rel=1e-5)
    domains = NUMBERS['windows'][:, 0]
    for domain in (0, 1):
        rows = torch.tensor(domains == domain)
        loss = action_loss(logits[rows], batch.actions[rows], counted[rows]).item()
        assert loss == pytest.approx(float(NUMBERS[f'loss_domain{domain}']), rel=1e-5)
    hits = (logits.argmax(-1) == batch.actions)[counted > 0].float().mean().item()
    assert hits == pytest.approx(float(NUMBERS['accuracy']), rel=1e-5)


@torch.no_grad()
def test_hidden_past_actions_change_nothing_and_others_do(model, batch):
    """Where they are hidden, actions of one step do not reach another."""
    hide = torch.ones(len(batch.states), dtype=torch.bool)
    changed = batch.actions.clone()
    changed[:, 2] = (changed[:, 2] + 7) % 64
    other = batch._replace(actions=changed)
    full = batch.mask.sum(1) == 5
    hidden = [model(one, hide=hide).actions[full] for one in (batch, other)]
    assert torch.equal(hidden[0][:, 3:], hidden[1][:, 3:])
    assert not torch.equal(hidden[0][:, 2], hidden[1][:, 2])
    seen = [model(one).actions[full] for one in (batch, other)]
    assert not torch.allclose(seen[0][:, 3:], seen[1][:, 3:])


@torch.no_grad()
def test_an_action_is_predicted_from_what_comes_before_it_alone(model, batch):
    changed = batch.actions.clone()
    changed[:, -1, 3] = (changed[:, -1, 3] + 9) % 64
    before, after = (model(one).actions[:, -1] for one in (batch, batch._replace(actions=changed)))
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


def test_the_weights_begin_as_the_originals_do():
    torch.manual_seed(0)
    model = MultiDomainTransformer(20, 4, 64, 96, 3, 4)
    assert model.encoder.h[0].attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.encoder.h[0].mlp.c_proj.weight.std().item() == pytest.approx(0.02 / np.sqrt(6), rel=0.05)
    assert model.embed_action_disc.weight[:64].std().item() == pytest.approx(1, rel=0.05)
    assert not model.embed_action_disc.weight[64].any()
