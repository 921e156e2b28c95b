"""The model against the reference's numbers, and against the properties the planner relies on."""

import json
from types import SimpleNamespace

import pytest
import torch

from tests.support import golden, make_gpt, state_of
from trajectory.models.transformers import GPT, ConditionalGPT

TINY = {
    'vocab_size': 7,
    'block_size': 29,
    'n_layer': 2,
    'n_head': 2,
    'n_embd': 16,
    'observation_dim': 3,
    'action_dim': 1,
    'transition_dim': 6,
    'action_weight': 5,
    'reward_weight': 2,
    'value_weight': 3,
    'embd_pdrop': 0.1,
    'resid_pdrop': 0.1,
    'attn_pdrop': 0.1,
}
HALFCHEETAH = TINY | {
    'vocab_size': 100,
    'block_size': 249,
    'n_layer': 4,
    'n_head': 4,
    'n_embd': 128,
    'observation_dim': 17,
    'action_dim': 6,
    'transition_dim': 25,
}


@pytest.fixture(scope='module')
def reference():
    arrays = golden('gpt')
    return arrays, make_gpt(arrays['config'], state_of(arrays))


@torch.no_grad()
def test_logits_and_loss_are_the_references(reference):
    arrays, model = reference
    tokens, targets, mask = (torch.tensor(arrays[name]) for name in ('tokens', 'targets', 'mask'))
    logits, loss = model(tokens, targets, mask)
    torch.testing.assert_close(logits, torch.tensor(arrays['logits']), atol=1e-4, rtol=0)
    torch.testing.assert_close(loss, torch.tensor(arrays['loss']), atol=0, rtol=1e-5)

    torch.testing.assert_close(model(tokens[:, :-3])[0], torch.tensor(arrays['logits_prefix']), atol=1e-4, rtol=0)
    torch.testing.assert_close(model(tokens[:, :1])[0], torch.tensor(arrays['logits_first']), atol=1e-4, rtol=0)

    unweighted = make_gpt(arrays['config'] | {'action_weight': 1}, state_of(arrays))
    torch.testing.assert_close(
        unweighted(tokens, targets, mask)[1], torch.tensor(arrays['loss_unweighted']), atol=0, rtol=1e-5
    )


def test_the_plain_attention_of_training_equals_the_fused_one(reference):
    arrays, _ = reference
    model = make_gpt(arrays['config'] | {'embd_pdrop': 0.0, 'resid_pdrop': 0.0, 'attn_pdrop': 1e-12}, state_of(arrays))
    tokens = torch.tensor(arrays['tokens'])
    torch.testing.assert_close(model.train()(tokens)[0], torch.tensor(arrays['logits']), atol=1e-4, rtol=0)


def test_the_published_size_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in GPT(SimpleNamespace(**HALFCHEETAH)).parameters()) == 1_468_544


@torch.no_grad()
def test_the_future_never_changes_a_logit():
    torch.manual_seed(0)
    model = make_gpt(TINY)
    tokens = torch.randint(0, 8, (3, 29))
    logits = model(tokens)[0]
    for t in range(1, 29):
        torch.testing.assert_close(model(tokens[:, :t])[0], logits[:, :t])


@torch.no_grad()
def test_a_value_token_changes_the_next_prediction_and_no_other():
    torch.manual_seed(0)
    model = make_gpt(TINY)
    tokens = torch.randint(0, 7, (1, 29))
    changed = tokens.clone()
    changed[0, 5] = (tokens[0, 5] + 1) % 7  # the first value column
    differs = (model(tokens)[0] != model(changed)[0]).any(dim=-1)[0]
    assert differs.nonzero().flatten().tolist() == [5]


def test_columns_are_weighted_where_they_are_targets():
    model = make_gpt(TINY | {'action_weight': 10, 'reward_weight': 100, 'value_weight': 1000})
    for n_tokens in (5, 7, 29):  # also lengths that end inside a transition
        logits, targets = torch.zeros(1, n_tokens, 8), torch.zeros(1, n_tokens, dtype=torch.long)
        weights = torch.tensor([[1, 1, 1, 10, 100, 1000] * 5])[:, 1 : n_tokens + 1]
        torch.testing.assert_close(model.loss(logits, targets), torch.log(torch.tensor(8.0)) * weights.float().mean())


def test_padding_keeps_every_token_at_its_place():
    model = make_gpt(TINY)
    x = torch.randn(2, 8, 16)
    padded, n_pad = model.pad_to_full_observation(x)
    assert padded.shape == (4, 6, 16)
    assert n_pad == 4
    assert model.verify(x, padded)
    assert not model.verify(x, padded.flip(0))


@torch.no_grad()
def test_the_goal_reaches_every_prediction_and_the_masked_columns_are_the_values():
    torch.manual_seed(0)
    model = make_gpt(TINY, kind=ConditionalGPT)
    tokens, goal = torch.randint(0, 7, (1, 29)), torch.tensor([[0, 1, 2]])
    logits = model(tokens, goal)[0]
    assert logits.shape == (1, 29, 8)
    for column in range(3):
        other = goal.clone()
        other[0, column] = 5
        assert (model(tokens, other)[0] != logits).any(dim=-1).all()

    for t in range(29):  # which later predictions a token reaches: all, or for a value only its own
        changed = tokens.clone()
        changed[0, t] = (tokens[0, t] + 1) % 7
        differs = (model(changed, goal)[0] != logits).any(dim=-1)[0].nonzero().flatten().tolist()
        assert differs == ([t] if t % 6 == 5 else list(range(t, 29)))


def test_only_matrices_decay():
    arrays = golden('training')
    model = make_gpt(arrays['model_config'])
    optimizer = model.configure_optimizers(SimpleNamespace(learning_rate=1e-3, betas=[0.9, 0.95], weight_decay=0.1))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = sorted(names[id(p)] for group in optimizer.param_groups if group['weight_decay'] for p in group['params'])
    assert decayed == sorted(json.loads(str(arrays['decayed_parameters'])))


def test_dimensions_that_do_not_add_up_are_refused():
    with pytest.raises(ValueError, match='has 6 tokens with its reward and value, not 9'):
        GPT(SimpleNamespace(**TINY | {'transition_dim': 9}))
    with pytest.raises(ValueError, match='30 tokens does not fit the block of 29'):
        make_gpt(TINY)(torch.zeros(1, 30, dtype=torch.long))
    with pytest.raises(ValueError, match='a goal has 3 tokens, this one has 2'):
        make_gpt(TINY, kind=ConditionalGPT)(torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long))


def test_a_shared_head_serves_every_column():
    from trajectory.search import beam_plan

    config = {**golden('gpt')['config'], 'share_head': True}
    torch.manual_seed(0)
    model = make_gpt(config)
    assert model.head.weight.shape == (config['vocab_size'] + 1, config['n_embd'])
    tokens = torch.randint(config['vocab_size'], (2, 9))
    logits, loss = model(tokens, tokens)
    assert logits.shape == (2, 9, config['vocab_size'] + 1)
    loss.backward()
    assert model.head.weight.grad.abs().sum() > 0
    for parameter in model.parameters():
        parameter.data.normal_(std=0.5)
    dims = config['observation_dim'], config['action_dim']
    plans = [
        beam_plan(
            model,
            lambda probs: (probs[:, 0, 0], probs[:, 1, 0]),
            tokens[:1, : dims[0]],
            2,
            3,
            2,
            *dims,
            verbose=False,
            cached=cached,
            generator=torch.Generator().manual_seed(0),
        )
        for cached in (True, False)
    ]
    assert torch.equal(*plans)
    optimizer = model.configure_optimizers(SimpleNamespace(learning_rate=1e-3, betas=(0.9, 0.95), weight_decay=0.1))
    assert any(p is model.head.weight for p in optimizer.param_groups[0]['params'])  # which decay
