"""Reading token by token against reading all at once."""

import pytest
import torch

from tests.support import make_gpt
from trajectory.models import GPT, ConditionalGPT
from trajectory.models.decoding import Decoder

OBSERVATION_DIM, ACTION_DIM = 3, 2
DIM = OBSERVATION_DIM + ACTION_DIM + 2
N = 6
BLOCK = 4 * DIM - 1


def wild(kind, n_layer=2):
    """A model in which every token matters."""
    torch.manual_seed(0)
    model = make_gpt(
        {
            'vocab_size': N,
            'block_size': BLOCK,
            'n_layer': n_layer,
            'n_head': 2,
            'n_embd': 8,
            'observation_dim': OBSERVATION_DIM,
            'action_dim': ACTION_DIM,
            'transition_dim': DIM,
            'action_weight': 1,
            'reward_weight': 1,
            'value_weight': 1,
            'embd_pdrop': 0.1,
            'resid_pdrop': 0.1,
            'attn_pdrop': 0.1,
        },
        dtype=torch.float64,
        kind=kind,
    )
    for parameter in model.parameters():
        parameter.data.normal_(std=0.6)
    return model


def rows_of(n_groups, n_rows, n_shared):
    """Random tokens, stop tokens among them; a group's rows begin alike.    returns : [ G·R x block ], [ G x goal ]"""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, N + 1, (n_groups * n_rows, BLOCK), generator=generator)
    tokens[:, :n_shared] = tokens[::n_rows, :n_shared].repeat_interleave(n_rows, dim=0)
    return tokens, torch.randint(0, N, (n_groups, OBSERVATION_DIM), generator=generator)


def read_whole(model, tokens, goal, n_rows):
    with torch.no_grad():
        if model.n_goal:
            return model(tokens, goal.repeat_interleave(n_rows, dim=0))[0]
        return model(tokens)[0]


# splits before, at and behind a value column (6, 13), nothing shared, nothing of one's own
@pytest.mark.parametrize(
    ('n_shared', 'n_prefill'),
    [
        (0, 1),
        (0, 6),
        (0, 7),
        (3, 3),
        (3, 10),
        (6, 6),
        (6, 7),
        (7, 7),
        (7, 8),
        (10, 10),
        (10, 17),
        (13, 14),
        (14, 14),
        (14, 20),
        (26, 27),
        (27, 27),
    ],
)
@pytest.mark.parametrize('kind', [GPT, ConditionalGPT])
@pytest.mark.parametrize(('n_groups', 'n_rows'), [(1, 3), (2, 1), (2, 4)])
@torch.no_grad()
def test_read_in_parts_as_read_at_once(kind, n_shared, n_prefill, n_groups, n_rows):
    model = wild(kind)
    tokens, goal = rows_of(n_groups, n_rows, n_shared)
    expected = read_whole(model, tokens, goal, n_rows)

    decoder = Decoder(model, goal if model.n_goal else None)
    logits, cache = decoder.prefill(tokens[::n_rows, :n_shared], tokens[:, n_shared:n_prefill])
    torch.testing.assert_close(logits, expected[:, n_prefill - 1])
    for place in range(n_prefill, BLOCK):
        assert cache.n_read == place
        logits, cache = decoder.step(tokens[:, place : place + 1], cache)
        torch.testing.assert_close(logits, expected[:, place])


@pytest.mark.parametrize('n_layer', [1, 3])
@torch.no_grad()
def test_any_number_of_layers_is_read(n_layer):
    model = wild(GPT, n_layer)
    tokens, goal = rows_of(1, 2, 5)
    expected = read_whole(model, tokens, goal, 2)
    logits, cache = Decoder(model).prefill(tokens[:1, :5], tokens[:, 5:9])
    torch.testing.assert_close(logits, expected[:, 8])
    torch.testing.assert_close(Decoder(model).step(tokens[:, 9:10], cache)[0], expected[:, 9])


@pytest.mark.parametrize('kind', [GPT, ConditionalGPT])
@pytest.mark.parametrize('n_shared', [0, 10])
@torch.no_grad()
def test_rows_can_be_kept_twice_dropped_and_reordered(kind, n_shared):
    model = wild(kind)
    n_groups, n_rows, n_prefill = 2, 3, 12
    tokens, goal = rows_of(n_groups, n_rows, n_shared)
    decoder = Decoder(model, goal if model.n_goal else None)
    _, cache = decoder.prefill(tokens[::n_rows, :n_shared], tokens[:, n_shared:n_prefill])
    kept = torch.tensor([2, 0, 0, 1, 4, 3, 5, 5])  # four rows of each group
    continued = torch.cat([tokens[kept, :n_prefill], rows_of(2, 4, 0)[0][:, n_prefill:]], dim=1)
    expected = read_whole(model, continued, goal, 4)

    selected = cache.select(kept)
    assert selected.n_read == cache.n_read
    for place in range(n_prefill, BLOCK):
        logits, selected = decoder.step(continued[:, place : place + 1], selected)
        torch.testing.assert_close(logits, expected[:, place])


@torch.no_grad()
def test_a_selection_shares_no_memory_with_what_it_was_made_from():
    model = wild(GPT)
    tokens, _ = rows_of(1, 2, 4)
    decoder = Decoder(model)
    _, cache = decoder.prefill(tokens[:1, :4], tokens[:, 4:5])
    expected, _ = decoder.step(tokens[:, 5:6], cache.select(torch.tensor([0, 1])))
    decoder.step(tokens[:, 7:8], cache.select(torch.tensor([1, 0])))
    torch.testing.assert_close(decoder.step(tokens[:, 5:6], cache)[0], expected)


@torch.no_grad()
def test_value_columns_are_not_kept():
    model = wild(GPT)
    tokens, _ = rows_of(1, 2, DIM)
    _, cache = Decoder(model).prefill(tokens[:1, :DIM], tokens[:, DIM : 2 * DIM])
    assert cache.n_read == 2 * DIM
    shared, own = cache.segments
    assert shared.filled(0).shape == (2, 1, 2, DIM - 1, 4)
    assert own.filled(0).shape == (2, 2, 2, DIM - 1, 4)


@pytest.mark.parametrize('kind', [GPT, ConditionalGPT])
@torch.no_grad()
def test_rows_repeat_without_a_copy_and_go_their_own_ways(kind):
    model = wild(kind)
    n_groups, n_rows, n_prefill = 2, 2, 12
    tokens, goal = rows_of(n_groups, n_rows, 5)
    decoder = Decoder(model, goal if model.n_goal else None)
    _, cache = decoder.prefill(tokens[::n_rows, :5], tokens[:, 5:n_prefill])
    repeated = cache.repeat(3)
    assert all(new is old for new, old in zip(repeated.segments, cache.segments, strict=True))

    order = torch.tensor([0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3])  # a whole group each time
    continued = torch.cat([tokens[order, :n_prefill], rows_of(2, 6, 0)[0][:, n_prefill:]], dim=1)
    expected = read_whole(model, continued, goal, 6)
    for place in range(n_prefill, BLOCK):
        if place == n_prefill + 4:
            repeated = repeated.select(torch.arange(12))  # and after a selection
        logits, repeated = decoder.step(continued[:, place : place + 1], repeated)
        torch.testing.assert_close(logits, expected[:, place])
