"""Growing sequences: those that read every token once against those that read all again."""

import numpy as np
import pytest
import torch

from tests.support import make_gpt
from trajectory.models import GPT, ConditionalGPT
from trajectory.search.sequences import CachedSequences, UncachedSequences, crop_length, forward, round_to_multiple

OBSERVATION_DIM, ACTION_DIM, N = 2, 1, 5
DIM = OBSERVATION_DIM + ACTION_DIM + 2
BLOCK = 4 * DIM - 1


def wild(kind):
    """A model in which every token matters."""
    torch.manual_seed(0)
    model = make_gpt(
        {
            'vocab_size': N,
            'block_size': BLOCK,
            'n_layer': 2,
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


def test_a_number_is_rounded_up():
    assert [round_to_multiple(n, 5) for n in (0, 1, 4, 5, 6, 10)] == [0, 5, 5, 5, 10, 10]


@pytest.mark.parametrize(
    ('n_tokens', 'limit', 'n_crop'),
    [
        (0, 14, 0),
        (14, 14, 0),
        (15, 14, 5),
        (19, 14, 5),
        (20, 14, 10),
        (100, None, 0),
        (29, 14, 15),
    ],
)
def test_a_crop_is_whole_transitions_and_no_more_than_needed(n_tokens, limit, n_crop):
    assert crop_length(n_tokens, limit, DIM) == n_crop


@pytest.mark.parametrize('limit', range(DIM, 3 * DIM))
def test_what_a_crop_leaves_fits_and_begins_with_a_first_column(limit):
    for n_tokens in range(60):
        n_crop = crop_length(n_tokens, limit, DIM)
        assert n_crop % DIM == 0
        assert n_tokens - n_crop <= limit
        assert n_crop == 0 or n_tokens - n_crop > limit - DIM


@torch.no_grad()
def test_the_model_sees_what_the_crop_leaves():
    model = wild(GPT)
    x = torch.randint(0, N + 1, (2, 24), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(forward(model, x), model(x[:, DIM:])[0])
    torch.testing.assert_close(forward(model, x, max_block=14), model(x[:, 2 * DIM :])[0])
    torch.testing.assert_close(forward(model, x, max_block=1000), model(x[:, DIM:])[0])
    torch.testing.assert_close(forward(model, x, crop_increment=2 * DIM), model(x[:, 2 * DIM :])[0])
    with pytest.raises(ValueError, match='24 tokens do not fit the 19 that the model may see'):
        forward(model, x, allow_crop=False)


@torch.no_grad()
def test_dropout_rests_while_planning():
    model = wild(GPT).train()
    x = torch.zeros(1, 6, dtype=torch.long)
    torch.testing.assert_close(forward(model, x), forward(model, x))
    assert not model.training


@pytest.mark.parametrize('kind', [GPT, ConditionalGPT])
@pytest.mark.parametrize('seed', range(40))
@torch.no_grad()
def test_reading_once_is_reading_again(seed, kind):
    rng = np.random.default_rng(seed)
    model = wild(kind)
    n_groups, n_rows = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    n_prefix, n_appended = int(rng.integers(1, 2 * BLOCK)), int(rng.integers(1, 2 * BLOCK))
    limit = int(rng.integers(DIM, BLOCK + 1))
    n_shared = int(rng.integers(0, n_prefix + 1))
    tokens = torch.tensor(rng.integers(0, N + 1, (n_groups * n_rows, n_prefix)))
    tokens[:, :n_shared] = tokens[::n_rows, :n_shared].repeat_interleave(n_rows, dim=0)
    goal = torch.tensor(rng.integers(0, N, (n_groups, OBSERVATION_DIM))) if kind is ConditionalGPT else None

    once = CachedSequences(model, tokens, n_groups, limit, goal, n_shared=n_shared)
    again = UncachedSequences(model, tokens, n_groups, limit, goal)
    for _ in range(n_appended):
        if rng.random() < 0.5:
            torch.testing.assert_close(once.logits(), again.logits())
        if rng.random() < 0.3:
            n_rows = len(again.tokens) // n_groups
            kept = torch.tensor(rng.integers(0, n_rows, (n_groups, int(rng.integers(1, 6)))))
            once.select(kept)
            again.select(kept)
        if rng.random() < 0.2 and len(again.tokens) < 20:
            once.repeat(2)
            again.repeat(2)
        if rng.random() < 0.3:
            torch.testing.assert_close(once.logits(), again.logits())
        appended = torch.tensor(rng.integers(0, N + 1, (len(again.tokens), 1)))
        once.append(appended)
        again.append(appended)
    assert torch.equal(once.tokens, again.tokens)
    torch.testing.assert_close(once.logits(), again.logits())


def test_rows_are_chosen_within_their_group():
    tokens = torch.arange(6)[:, None]
    sequences = UncachedSequences(wild(GPT), tokens, 2, BLOCK)
    sequences.select(torch.tensor([[2, 0, 0, 1], [1, 1, 2, 0]]))
    assert sequences.tokens[:, 0].tolist() == [2, 0, 0, 1, 4, 4, 5, 3]
