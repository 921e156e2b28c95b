"""Shards of a plan's candidates: sizes, the order of what they hold, and whose random numbers they use."""

import pytest
import torch

from tests.search.test_sequences import ACTION_DIM, OBSERVATION_DIM, N, wild
from trajectory.models import GPT
from trajectory.search.sampling import decode, sampler_from_uniforms
from trajectory.search.sequences import CachedSequences, UncachedSequences
from trajectory.search.shards import Shards

GROUPS, KEPT, EXPANSIONS = 2, 7, 3


def sequences_of(kind=CachedSequences):
    torch.manual_seed(0)
    prefixes = torch.randint(N, (GROUPS, OBSERVATION_DIM))
    model = wild(GPT)
    options = {'n_shared': OBSERVATION_DIM} if kind is CachedSequences else {}
    sequences = kind(model, prefixes, GROUPS, model.get_block_size(), **options)
    sequences.repeat(KEPT)
    return sequences


def sampler(rows):
    uniforms = torch.rand(GROUPS, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    return sampler_from_uniforms(uniforms, KEPT, rows)


@torch.no_grad()
def expand(sequences, draw):
    sequences.repeat(EXPANSIONS)
    decode(sequences, draw, ACTION_DIM + 2, {})


@pytest.mark.parametrize(('n_threads', 'sizes'), [(1, [7]), (2, [3, 4]), (3, [2, 2, 3]), (9, [2, 2, 3])])
@torch.no_grad()
def test_shards_hold_what_one_batch_would(n_threads, sizes):
    generator = torch.Generator().manual_seed(1)
    kept = torch.stack([torch.randperm(EXPANSIONS * KEPT, generator=generator)[:KEPT] for _ in range(GROUPS)])
    whole, draw = sequences_of(), sampler(slice(None))
    expand(whole, draw)
    with Shards(sequences_of(), KEPT, sampler, n_threads) as shards:
        assert [rows.stop - rows.start for rows in shards.slices] == sizes
        shards.map(expand)
        assert torch.equal(shards.tokens().flatten(0, 1), whole.tokens)
        whole.select(kept)
        shards.select(kept)
        assert torch.equal(shards.tokens().flatten(0, 1), whole.tokens)
        logits = shards.map(lambda shard, _: torch.no_grad()(shard.logits)().unflatten(0, (GROUPS, -1)))
        torch.testing.assert_close(torch.cat(logits, dim=1).flatten(0, 1), whole.logits())


def test_uncached_sequences_stay_together():
    with Shards(sequences_of(UncachedSequences), KEPT, sampler, 4) as shards:
        assert len(shards.shards) == 1
