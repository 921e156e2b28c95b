"""The pool chooses, counts, weighs and pulls as the original's does."""

import numpy as np
import pytest
import torch

from tests.support import golden
from trajectory.models.modulators import Modulator
from trajectory.models.multi_domain import MultiDomainTransformer
from trajectory.models.pool import ModulationPool

NUMBERS = golden('continual/pool')
QUERIES = torch.tensor(NUMBERS['queries'])
PER_TASK = NUMBERS['config']['updates_per_task']
VARIANTS = {
    'plain': {'counted': False},
    'counted': {},
    'learned': {},
    'masked': {'n_tasks': 3},
    'top3': {'counted': False, 'top_k': 3},
    'euclidean': {'metric': 'euclidean'},
    'manhattan': {'metric': 'manhattan'},
}


def make(**options):
    pool = ModulationPool(Modulator(), 16, 9, **options)
    with torch.no_grad():
        pool.keys.copy_(torch.tensor(NUMBERS['keys']))
    return pool


def test_a_query_is_the_mean_of_the_real_state_tokens():
    model = MultiDomainTransformer(2, 1, 4, 16, 1, 1)
    for tokens, mask, expected in zip(NUMBERS['embeddings'], NUMBERS['mask'], NUMBERS['queries'], strict=True):
        query = model.query(torch.tensor(tokens), torch.tensor(mask))
        assert query.numpy() == pytest.approx(expected, abs=1e-5)


def same_keys(ids, expected):
    return np.array_equal(np.sort(ids.numpy(), 1), np.sort(expected, 1))


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_update_is_the_originals(variant):
    pool = make(**VARIANTS[variant]).train()
    for n, queries in enumerate(QUERIES):
        if n and n % PER_TASK == 0:
            pool.switch_task()
        choice = pool.choose(queries)
        key = {name: NUMBERS[f'{variant}/{name}'][n] for name in ('ids', 'similarity', 'pull', 'counts', 'weights')}
        assert same_keys(choice.ids, key['ids'])
        assert choice.similarity.detach().numpy() == pytest.approx(key['similarity'], abs=1e-5)
        assert choice.pull.item() == pytest.approx(float(key['pull']), abs=1e-5)
        assert pool.counts.numpy() == pytest.approx(key['counts'], abs=1e-6)
        assert pool.weights.numpy() == pytest.approx(key['weights'], rel=1e-5)
        if variant == 'learned':
            (gradient,) = torch.autograd.grad(-0.5 * choice.pull, pool.keys)
            if n == 0:
                assert gradient.numpy() == pytest.approx(NUMBERS['learned/first_key_gradient'], abs=1e-5)
            with torch.no_grad():
                pool.keys -= 0.5 * gradient
    pool.eval()
    for task, update in enumerate((0, PER_TASK, 2 * PER_TASK)):
        before = pool.counts.clone()
        choice = pool.choose(QUERIES[update], task)
        assert same_keys(choice.ids, NUMBERS[f'{variant}/eval_ids'][task])
        assert choice.similarity.detach().numpy() == pytest.approx(
            NUMBERS[f'{variant}/eval_similarity'][task], abs=1e-5
        )
        assert torch.equal(pool.counts, before)
    pool.switch_task()
    assert pool.weights.numpy() == pytest.approx(NUMBERS[f'{variant}/final_weights'], rel=1e-5)
    if variant == 'learned':
        assert pool.keys.detach().numpy() == pytest.approx(NUMBERS['learned/final_keys'], abs=1e-5)


def test_where_a_key_of_pre_training_is_nearer_nothing_is_modulated():
    pool = make(n_pretrain_keys=3).eval()
    with torch.no_grad():
        pool.keys.copy_(torch.tensor(NUMBERS['fallback/keys']))
        pool.pretrain_keys.copy_(torch.tensor(NUMBERS['fallback/pretraining_keys']))
    ids = torch.stack([pool.evaluate(queries) for queries in QUERIES])
    assert np.array_equal(ids.numpy(), NUMBERS['fallback/ids'])
    assert (ids == -1).any()
    assert (ids >= 0).any()


def test_keys_of_pre_training_move_to_its_queries():
    pool = make(n_pretrain_keys=3)
    pool.spread_pretrain_keys(QUERIES[0])
    assert {tuple(key.tolist()) for key in pool.pretrain_keys} <= {tuple(query.tolist()) for query in QUERIES[0]}
    assert len(pool.pretrain_keys.unique(dim=0)) == 3
    optimizer = torch.optim.Adam([pool.pretrain_keys], lr=0.05)
    start = pool.pull_pretrain_keys(QUERIES[0]).item()
    for _ in range(100):
        optimizer.zero_grad()
        (-pool.pull_pretrain_keys(QUERIES[0])).backward()
        optimizer.step()
    assert pool.pull_pretrain_keys(QUERIES[0]).item() > start + 0.01
    assert not pool.keys.grad


def test_the_state_of_the_counts_is_kept():
    pool = make().train()
    pool.choose(QUERIES[0])
    pool.switch_task()
    other = make().train()
    other.load_state_dict(pool.state_dict())
    first, second = (one.choose(QUERIES[1]) for one in (pool, other))
    assert torch.equal(first.ids, second.ids)
    assert torch.equal(pool.counts, other.counts)
    assert other.task == 1
