"""What Hugging Face's page of this model promises, held to the plain forward."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from tests.models.test_decoding import BLOCK, DIM, OBSERVATION_DIM, N, wild
from trajectory.models import GPT, ConditionalGPT
from trajectory.models.decoding import Decoder
from trajectory.models.reading import ModelOutput

VALUE = DIM - 1
KINDS = pytest.mark.parametrize('kind', [GPT, ConditionalGPT])


def make(kind, **changes):
    """A model, a batch of full blocks, what stands before them, and their targets."""
    model = wild(kind)
    for name, value in changes.items():
        setattr(model, name, value)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, N + 1, (3, BLOCK + 1), generator=generator)
    goal = [torch.randint(0, N, (3, OBSERVATION_DIM), generator=generator)] * (kind is ConditionalGPT)
    return model, tokens[:, :-1], goal, tokens[:, 1:]


@KINDS
@pytest.mark.parametrize(
    'asked',
    [
        {'use_cache': True},
        {'output_attentions': True},
        {'output_hidden_states': True},
        {'gradient_checkpointing': True},
        {'attention_mask': torch.ones(3, BLOCK)},
        {'use_cache': True, 'output_attentions': True},
    ],
    ids=lambda asked: ' '.join(asked),
)
def test_asking_for_more_changes_no_number(kind, asked):
    model, tokens, goal, targets = make(kind, action_weight=5, value_weight=3)
    mask = torch.rand(tokens.shape) > 0.3
    logits, loss, *_ = model(tokens, *goal, targets, mask, **asked)
    expected, expected_loss = model(tokens, *goal, targets, mask)
    torch.testing.assert_close(logits, expected, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(loss, expected_loss, atol=1e-12, rtol=1e-9)


def test_only_what_was_asked_for_is_returned():
    model, tokens, _, targets = make(GPT)
    assert len(model(tokens, targets, gradient_checkpointing=True)) == 2
    out = model(tokens, use_cache=True)
    assert isinstance(out, ModelOutput)
    assert out.loss is out.hidden_states is out.attentions is None
    with pytest.raises(TypeError, match='output_attention'):
        model(tokens, output_attention=True)


@KINDS
@torch.no_grad()
def test_reading_on_from_any_position_equals_reading_whole(kind):
    model, tokens, goal, _ = make(kind)
    expected = model(tokens, *goal)[0]
    for cut in range(1, BLOCK):
        first = model(tokens[:, :cut], *goal, use_cache=True)
        rest, _ = model(tokens[:, cut:], *[None] * len(goal), past_key_values=first.past_key_values)
        torch.testing.assert_close(torch.cat([first.logits, rest], dim=1), expected, atol=1e-12, rtol=1e-9)


@KINDS
@torch.no_grad()
def test_reading_token_by_token_equals_reading_whole(kind):
    model, tokens, goal, _ = make(kind)
    expected, past = model(tokens, *goal)[0], None
    for place in range(BLOCK):
        given = goal if past is None else [None] * len(goal)
        out = model(tokens[:, place : place + 1], *given, past_key_values=past, use_cache=True)
        past = out.past_key_values
        torch.testing.assert_close(out.logits[:, 0], expected[:, place], atol=1e-12, rtol=1e-9)
    assert past[0][0].shape[2] == BLOCK + model.n_goal


@torch.no_grad()
def test_the_planners_cache_reads_the_same():
    model, tokens, _, _ = make(GPT)
    kept = model(tokens[:, :DIM], use_cache=True).past_key_values
    decoder = Decoder(model)
    _, cache = decoder.prefill(tokens[:, :0], tokens[:, :DIM])
    for place in range(DIM, 2 * DIM):
        out = model(tokens[:, place : place + 1], past_key_values=kept, use_cache=True)
        kept = out.past_key_values
        logits, cache = decoder.step(tokens[:, place : place + 1], cache)
        torch.testing.assert_close(out.logits[:, 0], logits, atol=1e-12, rtol=1e-9)


@torch.no_grad()
def test_the_loss_of_what_is_read_on_weighs_the_columns_where_they_stand():
    model, tokens, _, targets = make(GPT, action_weight=5, reward_weight=2, value_weight=3)
    cut = DIM + 2
    first = model(tokens[:, :cut], targets[:, :cut], use_cache=True)
    _, rest = model(tokens[:, cut:], targets[:, cut:], past_key_values=first.past_key_values)
    joined = (cut * first.loss + (BLOCK - cut) * rest) / BLOCK
    torch.testing.assert_close(joined, model(tokens, targets)[1], atol=1e-12, rtol=1e-9)


def test_a_sequence_past_the_block_is_an_error_with_a_cache_too():
    model, tokens, _, _ = make(GPT)
    past = model(tokens, use_cache=True).past_key_values
    with pytest.raises(ValueError, match=f'{BLOCK + 1} tokens does not fit the block of {BLOCK}'):
        model(tokens[:, :1], past_key_values=past)


@KINDS
@torch.no_grad()
def test_nobody_attends_to_a_masked_token(kind):
    model, tokens, goal, _ = make(kind)
    place, changed = DIM + 1, tokens.clone()
    changed[:, place] = (tokens[:, place] + 1) % N
    mask = torch.ones(3, BLOCK)
    mask[1:, place] = 0
    before, after = (model(given, *goal, attention_mask=mask)[0] for given in (tokens, changed))
    differs = (before != after).any(dim=-1)  # [ B x T ]
    assert differs[0, place + 1 :].all()
    assert differs[1:].nonzero()[:, 1].unique().tolist() == [place]

    first = model(tokens[:, : place + 1], *goal, attention_mask=mask[:, : place + 1], use_cache=True)
    rest, _ = model(
        tokens[:, place + 1 :], *[None] * len(goal), attention_mask=mask, past_key_values=first.past_key_values
    )
    torch.testing.assert_close(rest, before[:, place + 1 :], atol=1e-12, rtol=1e-9)


def test_a_token_that_sees_nothing_is_no_nan():
    model, tokens, _, targets = make(GPT)
    mask = torch.ones(3, BLOCK)
    mask[0, :DIM] = 0  # filled up from the left
    out = model(tokens, targets, attention_mask=mask, output_attentions=True)
    out.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert (out.attentions[0][0, :, :DIM] == 0).all()


def test_an_attention_mask_of_another_length_is_an_error():
    model, tokens, _, _ = make(GPT)
    past = model(tokens[:, :3], use_cache=True).past_key_values
    with pytest.raises(ValueError, match='attention_mask of 4 tokens, those read before included, got 1'):
        model(tokens[:, 3:4], past_key_values=past, attention_mask=torch.ones(3, 1))


@KINDS
@torch.no_grad()
def test_attentions_are_shares_of_what_may_be_seen(kind):
    model, tokens, goal, _ = make(kind)
    attentions = model(tokens, *goal, output_attentions=True).attentions
    n_all = BLOCK + model.n_goal
    assert [tuple(weights.shape) for weights in attentions] == [(3, 2, n_all, n_all)] * 2
    for weights in attentions:
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, n_all, dtype=weights.dtype))
        own = weights[:, :, model.n_goal :, model.n_goal :]
        assert (own[..., VALUE::DIM] == 0).all()
        assert (own.triu(1) == 0).all()


def test_attentions_are_those_before_dropout():
    model, tokens, _, _ = make(GPT)
    expected = model(tokens, output_attentions=True).attentions[0]
    model.train()
    model.drop.p = 0.0
    for block in model.blocks:
        block.attn.attn_drop.p = 0.9
    torch.testing.assert_close(model(tokens, output_attentions=True).attentions[0], expected)


@torch.no_grad()
def test_hidden_states_are_what_the_blocks_pass_on():
    model, tokens, _, _ = make(GPT)
    out = model(tokens, output_hidden_states=True)
    assert len(out.hidden_states) == len(model.blocks) + 1
    torch.testing.assert_close(out.hidden_states[0], model.embed(tokens))
    for block, before, after in zip(model.blocks, out.hidden_states, out.hidden_states[1:], strict=False):
        torch.testing.assert_close(block(before), after, atol=1e-12, rtol=1e-9)


def test_gradient_checkpointing_keeps_less_and_changes_no_gradient():
    model, tokens, _, targets = make(GPT)
    model.train()
    gradients, kept = [], []
    for asked in ({'attention_mask': torch.ones(3, BLOCK)}, {'gradient_checkpointing': True}):
        numbers = []

        def keep(tensor, numbers=numbers):
            numbers.append(tensor.numel())
            return tensor

        torch.manual_seed(0)  # the same dropout
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            _, loss = model(tokens, targets, **asked)
        model.zero_grad()
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        kept.append(sum(numbers))
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-9)
    assert kept[1] < kept[0] / 3


def test_bfloat16_rounds_and_no_more():
    model, tokens, _, targets = make(GPT)
    model.float()
    with torch.no_grad():
        exact, loss = model(tokens, targets)
    logits, rounded_loss = model(tokens, targets, bfloat16=True)
    assert logits.dtype == torch.float32
    tolerance = 0.1 * float(exact.abs().max())
    assert 0 < (logits - exact).abs().max() < tolerance
    torch.testing.assert_close(rounded_loss, loss, atol=0, rtol=0.05)
    rounded_loss.backward()

    out = model.to(torch.bfloat16)(tokens, targets, use_cache=True, output_attentions=True)
    assert out.logits.dtype == model(tokens)[0].dtype == torch.bfloat16
    torch.testing.assert_close(out.loss.float(), loss, atol=0, rtol=0.05)
    rest, _ = model(tokens[:, 9:], past_key_values=model(tokens[:, :9], use_cache=True).past_key_values)
    torch.testing.assert_close(rest.float(), exact[:, 9:], atol=tolerance, rtol=0)
