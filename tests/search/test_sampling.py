"""Filters, orders and draws against the reference's numbers and the distributions they draw from."""

import numpy as np
import pytest
import torch

from tests.support import golden, make_gpt, state_of
from trajectory.search.sampling import (
    filter_cdf,
    filtered,
    forward,
    get_logp,
    inverse_cdf,
    sample,
    sample_n,
    sample_token,
    sampler_from_generators,
    shrink_towards_mean,
    sort_2d,
    top_k_logits,
)
from trajectory.utils.errors import InputError


@pytest.fixture(scope='module')
def reference():
    return golden('sampling')


@pytest.fixture(scope='module')
def model():
    arrays = golden('gpt')
    return make_gpt(arrays['config'], state_of(arrays))


def random_logits(n_rows=50, n_tokens=9, seed=0):
    return 2 * torch.randn(n_rows, n_tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


# --------------------------------- filters --------------------------------- #


def test_the_likeliest_tokens_are_the_references(reference):
    np.testing.assert_allclose(top_k_logits(torch.tensor(reference['logits']), 3), reference['top3'], atol=1e-5)


@pytest.mark.parametrize(('threshold', 'name'), [(0.6, 'cdf_0_6'), (0.95, 'cdf_0_95')])
def test_the_unlikely_tokens_are_the_references(reference, threshold, name):
    found = filter_cdf(torch.tensor(reference['logits']), threshold).numpy()
    expected = np.where(reference[name] == -1000, -np.inf, reference[name])  # where ours removes, it writes -1000
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.isneginf(found).any()


def test_log_probabilities_are_the_references(reference, model):
    with torch.no_grad():
        found = get_logp(model, torch.tensor(reference['logp_input']), **reference['logp_kwargs']).exp()
    expected = np.exp(reference['logp'].clip(-1000))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found == 0, expected == 0)


@pytest.mark.parametrize('k', [1, 4, 9])
def test_k_tokens_stay_and_stay_as_they_were(k):
    logits = random_logits()
    kept = top_k_logits(logits, k)
    assert (torch.isfinite(kept).sum(dim=1) == k).all()
    assert torch.equal(kept.max(dim=1).values, logits.max(dim=1).values)
    assert torch.equal(kept[torch.isfinite(kept)], logits[torch.isfinite(kept)])


def test_tokens_level_with_the_kth_stay():
    kept = top_k_logits(torch.tensor([[3.0, 1, 2, 2, 0]]), 2)
    assert torch.isfinite(kept).tolist() == [[True, False, True, True, False]]


def slow_filter_cdf(row, threshold):
    """The same, a token at a time, for a row without ties.    returns : which stay"""
    order = np.argsort(row)
    removed, total = [order[0]], row[order[0]]
    for token in order[1:]:
        total += row[token]
        if total >= threshold:
            break
        removed.append(token)
    return np.array([token not in removed for token in range(len(row))])


@pytest.mark.parametrize('threshold', [0, 0.1, 0.5, 0.9, 0.999])
def test_filtering_is_dropping_the_least_likely_one_by_one(threshold):
    logits = random_logits()
    kept = torch.isfinite(filter_cdf(logits, threshold))
    for row, stays in zip(logits.softmax(dim=-1).numpy(), kept, strict=True):
        np.testing.assert_array_equal(stays, slow_filter_cdf(row, threshold))


@pytest.mark.parametrize('threshold', [0, 0.6, 1])
def test_a_row_whose_tokens_are_all_level_keeps_them_all(threshold):
    assert torch.isfinite(filter_cdf(torch.zeros(3, 5), threshold)).all()


@pytest.mark.parametrize('threshold', [0, 0.6, 1, 2])
def test_a_filter_never_takes_the_likeliest(threshold):
    logits = torch.cat([random_logits(), torch.tensor([[0.0] * 8 + [50.0], [5.0, 5, 0, 0, 0, 0, 0, 0, 0]])])
    kept = filter_cdf(logits, threshold)
    assert torch.equal(kept.max(dim=1).values, logits.max(dim=1).values)


def test_filters_follow_one_another_after_the_temperature():
    logits = random_logits()
    expected = top_k_logits(filter_cdf(logits / 0.5, 0.3), 4)  # the reference's order, which matters
    assert not torch.equal(filter_cdf(top_k_logits(logits / 0.5, 4), 0.3), expected)
    assert torch.equal(filtered(logits, temperature=0.5, topk=4, cdf=0.3), expected)
    assert torch.equal(filtered(logits), logits)


# ---------------------------------- order ---------------------------------- #


def test_a_matrix_is_sorted_as_the_reference_sorts_it(reference):
    values, rows, columns = sort_2d(torch.tensor(reference['logits']))
    np.testing.assert_allclose(values, reference['sort_values'], atol=1e-5)
    np.testing.assert_array_equal(rows, reference['sort_rows'])
    np.testing.assert_array_equal(columns, reference['sort_cols'])


def test_what_is_level_stays_in_order():
    values, rows, columns = sort_2d(torch.tensor([[1.0, 2, 1], [2, 1, 2]]))
    assert values.tolist() == [2, 2, 2, 1, 1, 1]
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 2), (0, 0), (0, 2), (1, 1)]
    _, rows, columns = sort_2d(torch.zeros(64, 100))
    assert torch.equal(rows * 100 + columns, torch.arange(6400))


# ---------------------------------- draws ---------------------------------- #


def test_a_number_falls_on_the_first_token_that_reaches_it():
    probs = torch.tensor([[0.25, 0, 0.5, 0.25]], dtype=torch.double).repeat(6, 1)
    uniforms = torch.tensor([0, 0.25, 0.2500001, 0.75, 0.7500001, 0.9999999], dtype=torch.double)
    assert inverse_cdf(probs, uniforms)[:, 0].tolist() == [0, 0, 2, 2, 3, 3]


def test_no_number_draws_a_token_that_cannot_be():
    uniforms = torch.tensor([0, 1e-320, 0.3, 0.7, 1 - 2**-53], dtype=torch.double)
    probs = torch.tensor([[0, 0, 0.3, 0, 0.7, 0]]).repeat(len(uniforms), 1)
    assert set(inverse_cdf(probs, uniforms)[:, 0].tolist()) == {2, 4}


def test_distributions_need_not_sum_to_one():
    uniforms = torch.linspace(0, 0.999, 40, dtype=torch.double)
    probs = torch.tensor([[0.1, 0.5, 0.4]]).repeat(len(uniforms), 1)
    assert torch.equal(inverse_cdf(3 * probs, uniforms), inverse_cdf(probs, uniforms))


def test_each_generator_draws_as_it_would_alone():
    probs = random_logits(6).softmax(dim=-1)
    together = sampler_from_generators([torch.Generator().manual_seed(seed) for seed in (1, 2, 3)])(probs)
    alone = [
        sampler_from_generators([torch.Generator().manual_seed(seed)])(part)
        for seed, part in zip((1, 2, 3), probs.split(2), strict=True)
    ]
    assert torch.equal(together, torch.cat(alone))


def test_one_likeliest_token_needs_no_draw():
    logits = random_logits()

    def draw(_):
        raise AssertionError('drew')

    tokens, probs = sample_token(logits, draw, temperature=2.0, topk=1, cdf=0.9)
    assert torch.equal(tokens[:, 0], logits.argmax(dim=1))
    torch.testing.assert_close(probs, (logits / 2).softmax(dim=-1))


@pytest.mark.parametrize(
    'how', [{}, {'temperature': 2.0}, {'topk': 3}, {'cdf': 0.4}, {'temperature': 0.5, 'topk': 4, 'cdf': 0.2}], ids=str
)
@torch.no_grad()
def test_draws_come_as_often_as_they_are_likely(model, how):
    n_draws = 20_000
    x = torch.tensor(golden('gpt')['tokens'])[:1, :9]
    tokens, probs = sample(model, x, **how)
    assert tokens.shape == (1, 1)
    logits = forward(model, x)[:, -1]
    torch.testing.assert_close(probs, (logits / how.get('temperature', 1)).softmax(dim=-1))

    expected = get_logp(model, x, **how).exp()[0]
    draw = sampler_from_generators([torch.Generator().manual_seed(0)])
    drawn = sample_token(logits.repeat(n_draws, 1), draw, **how)[0]
    frequencies = torch.bincount(drawn[:, 0], minlength=len(expected)) / n_draws
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=4 * 0.5 * n_draws**-0.5)
    assert (frequencies[expected == 0] == 0).all()


@torch.no_grad()
def test_equal_seeds_sample_alike_and_others_do_not(model):
    x = torch.tensor(golden('gpt')['tokens'])[:, :10]
    samples = [sample_n(model, x, 14, generator=torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])
    assert torch.equal(samples[0][:, :10], x)


def test_a_crop_that_splits_a_transition_is_refused(model):
    with pytest.raises(InputError, match='a crop takes whole transitions of 7 tokens, not 3'):
        sample_n(model, torch.zeros(1, 3, dtype=torch.long), 2, crop_increment=3)


def test_drawn_actions_move_towards_the_mean_of_what_they_were_drawn_from():
    edges = torch.tensor([[0.0], [1.0], [2.0], [4.0], [8.0]])  # middles 0.5, 1.5, 3, 6
    probs = torch.tensor([[0.5, 0.0, 0.0, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25, 0.0]])  # the last is the stop token
    values, means = (edges[:-1] + edges[1:]) / 2, torch.tensor([(0.5 * 0.5 + 0.25 * 6) / 0.75, 2.75])
    for factor in (0.0, 0.5, 1.0):
        shrink = shrink_towards_mean(edges, values, factor)
        for token, value in enumerate((0.5, 1.5, 3.0, 6.0)):
            found = shrink(torch.full((2, 1), token), probs, 0)
            wanted = means + factor * (value - means)
            inside = (edges[found[:, 0], 0] <= wanted) & (wanted < edges[found[:, 0] + 1, 0])
            assert inside.all()
    as_drawn = shrink_towards_mean(edges, values, 1.0)
    assert as_drawn(torch.tensor([[4], [4]]), probs, 0).max() <= 3  # no stop token is an action
