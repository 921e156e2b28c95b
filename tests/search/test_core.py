"""Whole plans and searches against the reference's, and the cached planner against the uncached one."""

import threading

import numpy as np
import pytest
import torch

from tests.support import golden, make_gpt, state_of
from trajectory.datasets.discretization import QuantileDiscretizer
from trajectory.models import GPT, ConditionalGPT
from trajectory.search import SearchSettings, beam_plan, beam_search, likeliest_plan, sample_n, search
from trajectory.search.core import THREAD_WORK, estimate_plan, useful_threads
from trajectory.search.sampling import get_logp, inverse_cdf
from trajectory.utils.errors import InputError


@pytest.fixture(scope='module')
def reference():
    arrays = golden('search')
    discretizer = QuantileDiscretizer(arrays['discretizer_data'], arrays['config']['vocab_size'])
    return arrays, make_gpt(arrays['config'], state_of(arrays)), lambda probs: discretizer.value_fn(probs, 'mean')


class StoredUniforms:
    """Draws as the golden plans were drawn: by stored numbers, and by none where every row is certain."""

    def __init__(self, uniforms):
        self.uniforms = torch.tensor(uniforms)
        self.used = 0

    def __call__(self, probs):
        if ((probs > 0).sum(dim=-1) == 1).all():
            return probs.argmax(dim=-1, keepdim=True)
        self.used += len(probs)
        return inverse_cdf(probs, self.uniforms[self.used - len(probs) : self.used])


@pytest.mark.parametrize('cached', [True, False], ids=['cached', 'uncached'])
@pytest.mark.parametrize('case', range(6))
def test_plans_are_the_references_token_by_token(reference, case, cached):
    arrays, model, value_fn = reference
    draw = StoredUniforms(arrays['uniforms'])
    plan = beam_plan(
        model,
        value_fn,
        torch.tensor(arrays[f'plan{case}_prefix']),
        observation_dim=3,
        action_dim=2,
        verbose=False,
        draw=draw,
        cached=cached,
        **arrays['cases'][case],
    )
    np.testing.assert_array_equal(plan, arrays[f'plan{case}_sequence'])
    assert draw.used == arrays[f'plan{case}_uniforms_used']


@pytest.mark.parametrize('cached', [True, False], ids=['cached', 'uncached'])
@pytest.mark.parametrize('case', [1, 2])
def test_searches_are_the_references(reference, case, cached):
    arrays, model, _ = reference
    sequence, logp = beam_search(
        model, torch.tensor(arrays['beam_prefix']), cached=cached, **arrays['beam_args'][case - 1]
    )
    np.testing.assert_array_equal(sequence, arrays[f'beam{case}'])
    np.testing.assert_allclose(logp, arrays[f'beam{case}_logp'], atol=1e-4)


def random_setting(seed):
    """A model with wild weights, so that every token matters, and a plan for it."""
    rng = np.random.default_rng(seed)
    observation_dim, action_dim = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    dim = observation_dim + action_dim + 2
    block_transitions = int(rng.integers(2, 7))
    n_head = int(rng.integers(1, 4))
    vocab_size = int(rng.integers(2, 9))
    config = {
        'vocab_size': vocab_size,
        'block_size': block_transitions * dim - int(rng.integers(0, 2)),
        'n_layer': int(rng.integers(1, 4)),
        'n_head': n_head,
        'n_embd': 4 * n_head,
        'observation_dim': observation_dim,
        'action_dim': action_dim,
        'transition_dim': dim,
        'action_weight': 1,
        'reward_weight': 1,
        'value_weight': 1,
        'embd_pdrop': 0.1,
        'resid_pdrop': 0.1,
        'attn_pdrop': 0.1,
    }
    torch.manual_seed(seed)
    is_goal_conditioned = bool(rng.integers(0, 2))
    model = make_gpt(config, dtype=torch.float64, kind=ConditionalGPT if is_goal_conditioned else GPT)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.6)
    context = (None, *range(2, block_transitions + 1))
    k = (None, 1, 2, vocab_size, vocab_size + 1)
    cdf = (None, 0.2, 0.6)
    plan = {
        'n_steps': int(rng.integers(1, 2 * block_transitions)),
        'beam_width': int(rng.integers(1, 6)),
        'n_expand': int(rng.integers(1, 4)),
        'observation_dim': observation_dim,
        'action_dim': action_dim,
        'discount': 0.95,
        'max_context_transitions': context[rng.integers(len(context))],
        **{name: k[rng.integers(len(k))] for name in ('k_obs', 'k_act', 'k_rew')},
        **{name: cdf[rng.integers(len(cdf))] for name in ('cdf_obs', 'cdf_act', 'cdf_rew')},
        'temperature': float(rng.choice([1.0, 0.3, 2.0])),
    }
    prefixes = [
        torch.tensor(rng.integers(0, vocab_size + 1, int(n) * dim + observation_dim))
        for n in rng.integers(0, block_transitions + 3, int(rng.integers(1, 4)))
    ]
    goal = torch.tensor(rng.integers(0, vocab_size, (len(prefixes), observation_dim))) if is_goal_conditioned else None
    edges = np.sort(rng.normal(size=(vocab_size + 1, dim)), axis=0)
    discretizer = QuantileDiscretizer.from_thresholds(edges)
    return model, lambda probs: discretizer.value_fn(probs, 'mean'), prefixes, goal, plan


def generators(n, seed=0):
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


@pytest.mark.parametrize('seed', range(200))
def test_the_cached_planner_is_exact(seed):
    model, value_fn, prefixes, goal, plan = random_setting(seed)
    fast, slow = (
        beam_plan(
            model,
            value_fn,
            prefixes,
            verbose=False,
            goal=goal,
            generator=generators(len(prefixes)),
            cached=cached,
            **plan,
        )
        for cached in (True, False)
    )
    assert torch.equal(fast, slow)


@pytest.mark.parametrize('n_threads', [1, 2])
@pytest.mark.parametrize('seed', range(20))
def test_an_episode_plans_in_company_as_it_does_alone(seed, n_threads):
    model, value_fn, prefixes, goal, plan = random_setting(seed)
    together = beam_plan(
        model,
        value_fn,
        prefixes,
        verbose=False,
        goal=goal,
        generator=generators(len(prefixes)),
        n_threads=n_threads,
        **plan,
    )
    for i, prefix in enumerate(prefixes):
        alone = beam_plan(
            model,
            value_fn,
            prefix[None],
            verbose=False,
            goal=None if goal is None else goal[[i]],
            generator=generators(1, seed=i),
            **plan,
        )
        assert torch.equal(alone, together[i])


@pytest.mark.parametrize('seed', range(60))
def test_threads_share_out_the_candidates_of_a_plan(seed):
    model, value_fn, prefixes, goal, plan = random_setting(seed)
    plan['beam_width'] = 4 + seed % 9
    prefixes = prefixes[:1] if seed % 2 else prefixes
    goal = None if goal is None else goal[: len(prefixes)]

    def plans(n_threads, traces):
        return beam_plan(
            model,
            value_fn,
            prefixes,
            verbose=False,
            goal=goal,
            generator=generators(len(prefixes)),
            n_threads=n_threads,
            traces=traces,
            **plan,
        )

    alone, shared = [], []
    assert torch.equal(plans(1, alone), plans(len(prefixes) + 1 + seed % 3, shared))
    for one, other in zip(alone, shared, strict=True):
        for name in vars(one):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)


def test_a_plan_takes_threads_as_far_as_they_have_enough_to_do(reference):
    _, model, _ = reference

    def threads(n_episodes, beam_width, limit):
        return useful_threads(model, n_episodes, SearchSettings(horizon=1, beam_width=beam_width), limit)

    rows_of_a_thread = int(THREAD_WORK / 24 / model.embedding_dim**2) + 1
    assert threads(1, 4, 8) == 1  # a waste of all but one
    assert threads(1, rows_of_a_thread, 8) == 2  # of which each has two expansions
    assert threads(10, rows_of_a_thread, 8) == 8


def test_a_failure_in_one_thread_ends_the_plan(reference):
    _, model, value_fn = reference
    prefix = torch.zeros(1, 3, dtype=torch.long)

    def fails(probs):
        if threading.current_thread() is not threading.main_thread():
            raise ZeroDivisionError
        return value_fn(probs)

    with pytest.raises(ZeroDivisionError):
        search(model, fails, prefix, SearchSettings(horizon=2, beam_width=4), n_threads=2)
    assert threading.active_count() == 1


def test_a_low_temperature_draws_the_likeliest_actions(reference):
    _, model, value_fn = reference
    x, plan = torch.tensor([[1, 2, 3]]), dict(n_steps=1, beam_width=8, n_expand=1, observation_dim=3, action_dim=2)
    likeliest = beam_plan(model, value_fn, x, verbose=False, k_act=1, **plan)
    cold, warm = (
        beam_plan(
            model,
            value_fn,
            x,
            verbose=False,
            generator=torch.Generator().manual_seed(3),
            temperature=temperature,
            **plan,
        )
        for temperature in (1e-3, 1.0)
    )
    assert torch.equal(cold, likeliest)
    assert not torch.equal(warm, likeliest)


def test_noiseless_candidates_are_one_and_noisy_ones_many(reference):
    arrays, model, value_fn = reference
    layout = model.layout
    discretizer = QuantileDiscretizer(arrays['discretizer_data'], model.vocab_size)
    prefix = torch.randint(model.vocab_size, (1, layout.observation_dim), generator=torch.Generator().manual_seed(0))

    def plans_of(noise):
        settings = SearchSettings(horizon=1, beam_width=4, max_context_transitions=2, action_noise=noise)
        return torch.stack([
            search(model, value_fn, prefix, settings,
                   generator=[torch.Generator().manual_seed(seed)], discretizer=discretizer)
            for seed in range(8)
        ])  # fmt: skip

    assert len(plans_of(0.0).unique(dim=0)) == 1
    assert len(plans_of(1.0).unique(dim=0)) > 1


def test_noise_needs_to_know_what_actions_tokens_are(reference):
    _, model, _ = reference
    prefix = torch.zeros(1, model.observation_dim, dtype=torch.long)
    with pytest.raises(InputError, match='action_noise needs to know what actions the tokens stand for'):
        search(model, None, prefix, SearchSettings(horizon=1, action_noise=0.5))


def test_a_context_longer_than_the_block_is_the_block(reference):
    arrays, model, value_fn = reference
    plans = [
        beam_plan(
            model,
            value_fn,
            torch.tensor(arrays['plan4_prefix']),
            3,
            4,
            2,
            3,
            2,
            verbose=False,
            max_context_transitions=n,
            generator=torch.Generator().manual_seed(0),
        )
        for n in (None, 6, 99)
    ]
    assert torch.equal(plans[0], plans[1])
    assert torch.equal(plans[0], plans[2])


@pytest.mark.parametrize('n_threads', [1, 2, 5])
def test_plans_come_back_in_the_order_of_their_prefixes(reference, n_threads):
    _, model, value_fn = reference
    prefixes = [torch.full((n,), i) for i, n in enumerate([10, 3, 17, 10, 3])]  # one transition, none, two, one, none
    plans = beam_plan(
        model, value_fn, prefixes, 2, 4, 2, 3, 2, verbose=False, generator=generators(5), n_threads=n_threads
    )
    assert plans[:, 0, :3].tolist() == [[i] * 3 for i in range(5)]  # a plan begins with what is seen now


def test_what_the_model_no_longer_sees_costs_nothing(reference):
    _, model, value_fn = reference
    shapes = []

    def graphs(_key, plan, *inputs):
        shapes.append(list(inputs[0].shape))
        return plan(*inputs)

    prefixes = [torch.zeros(n * 7 + 3, dtype=torch.long) for n in (500, 900)]
    beam_plan(model, value_fn, prefixes, 2, 4, 2, 3, 2, verbose=False, generator=generators(2), graphs=graphs)
    assert shapes == [[2, 4 * 7 + 3]]  # as much as fits the block of 34, and both in one batch


@pytest.mark.parametrize('seed', range(40))
def test_cached_searches_and_samples_are_exact(seed):
    model, _, prefixes, goal, plan = random_setting(seed)
    prefix, goal = prefixes[0][None], None if goal is None else goal[:1]
    n_steps = 3 * model.transition_dim
    found = [
        beam_search(model, prefix, n_steps, plan['beam_width'], goal, cached=cached, topk=plan['k_obs'])
        for cached in (True, False)
    ]
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])

    rows = prefix.repeat(3, 1)
    goals = None if goal is None else goal.repeat(3, 1)
    sampled, probs = sample_n(model, rows, n_steps, goal=goals, generator=generators(1)[0])
    x, kwargs = sampled, {} if goal is None else {'goal': goals}
    with torch.no_grad():
        for n in range(n_steps):
            logp = get_logp(model, x[:, : rows.shape[1] + n], **kwargs)
            torch.testing.assert_close(probs[:, n], logp.exp())


def test_equal_seeds_give_equal_plans_and_others_do_not(reference):
    arrays, model, value_fn = reference
    plans = [
        beam_plan(
            model,
            value_fn,
            torch.tensor(arrays['plan1_prefix']),
            4,
            8,
            2,
            3,
            2,
            verbose=False,
            generator=generators(1, seed)[0],
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(plans[0], plans[1])
    assert not torch.equal(plans[0], plans[2])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'n_steps': 0}, 'horizon must be at least 1, got 0'),
        ({'beam_width': -1}, 'beam_width must be at least 1, got -1'),
        ({'n_expand': 0}, 'n_expand must be at least 1'),
        ({'k_act': 0}, 'k_act must be between 1 and the 13 tokens of a column, got 0'),
        ({'k_obs': 14}, 'k_obs must be between 1 and the 13 tokens of a column, got 14'),
        ({'max_context_transitions': 1}, 'does not hold the transition of 7'),
        ({'max_context_transitions': 0}, r'max_context_transitions must be at least 1, got 0.\n.*transitions 2'),
        ({'x': []}, 'there is no prefix to plan from'),
        ({'generator': generators(2)}, '2 generators for 1 prefixes'),
        ({'observation_dim': 4}, 'this plan has 8 numbers, one of the model 7'),
        ({'x': torch.zeros(1, 4, dtype=torch.long)}, r'must end after an observation.* has shape \[4\]'),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused_before_any_work(reference, changes, message):
    _, model, value_fn = reference
    plan = {
        'x': torch.zeros(1, 3, dtype=torch.long),
        'n_steps': 3,
        'beam_width': 2,
        'n_expand': 2,
        'observation_dim': 3,
        'action_dim': 2,
        'verbose': False,
        **changes,
    }
    with pytest.raises(InputError, match=message):
        beam_plan(model, value_fn, **plan)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'n': 0}, 'at least 1 step, got 0'),
        ({'n': -2}, 'at least 1 step, got -2'),
        ({'topk': 0}, 'topk must be between 1 and the 13 tokens of a column, got 0'),
        ({'topk': 14}, 'topk must be between 1 and the 13 tokens of a column, got 14'),
        ({'max_block': 6}, 'max_block must hold a transition of 7 tokens, got 6'),
        ({'crop_increment': 3}, 'a crop takes whole transitions of 7 tokens, not 3'),
        ({'x': torch.zeros(1, 0, dtype=torch.long)}, 'no token to go on from'),
    ],
)
@pytest.mark.parametrize('go_on', [beam_search, sample_n])
def test_a_search_that_cannot_be_made_is_refused_before_any_work(reference, go_on, changes, message):
    _, model, _ = reference
    given = {'x': torch.zeros(1, 3, dtype=torch.long), 'n': 5, **changes}
    with pytest.raises(InputError, match=message):
        go_on(model, given.pop('x'), given.pop('n'), **given)


@pytest.mark.parametrize('percentile', ['mean', 0.9])
def test_nothing_in_a_plan_waits_for_the_host(percentile):
    config = {
        'vocab_size': 10,
        'block_size': 34,
        'n_layer': 2,
        'n_head': 2,
        'n_embd': 8,
        'observation_dim': 3,
        'action_dim': 2,
        'transition_dim': 7,
        'action_weight': 1,
        'reward_weight': 1,
        'value_weight': 1,
        'embd_pdrop': 0.1,
        'resid_pdrop': 0.1,
        'attn_pdrop': 0.1,
    }
    nowhere = torch.device('meta')  # shapes without numbers: looking at one is an error
    discretizer = QuantileDiscretizer.from_thresholds(np.sort(np.random.default_rng(0).normal(size=(11, 7)), axis=0))
    plans = beam_plan(
        make_gpt(config).to(nowhere),
        lambda probs: discretizer.value_fn(probs, percentile),
        torch.zeros(2, 5 * 7 + 3, dtype=torch.long, device=nowhere),
        6,
        4,
        2,
        3,
        2,
        k_obs=1,
        k_act=3,
        cdf_act=0.6,
        max_context_transitions=3,
        verbose=False,
    )
    assert (plans.shape, plans.device) == ((2, 6, 7), nowhere)


@pytest.mark.parametrize('seed', range(3))
def test_a_way_to_a_goal_is_the_likeliest_continuation(seed):
    rng = torch.Generator().manual_seed(seed)
    config = dict(
        vocab_size=7,
        block_size=23,
        n_layer=2,
        n_head=2,
        n_embd=16,
        observation_dim=3,
        action_dim=2,
        transition_dim=7,
        action_weight=1,
        reward_weight=1,
        value_weight=1,
        embd_pdrop=0,
        resid_pdrop=0,
        attn_pdrop=0,
    )
    torch.manual_seed(seed)
    model = make_gpt(config, kind=ConditionalGPT, dtype=torch.double)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    prefixes = [torch.randint(7, (n,), generator=rng) for n in (3, 10, 3)]
    goals = torch.randint(7, (3, 3), generator=rng)
    plans = likeliest_plan(model, prefixes, 4, 3, goals, 3, n_threads=2)
    assert plans.shape == (3, 4, 7)
    for prefix, goal, plan in zip(prefixes, goals, plans, strict=True):
        slow, _ = beam_search(model, prefix[None], 4 * 7 - 3, 3, goal[None], max_block=20, cached=False)
        assert torch.equal(plan.flatten(), slow[-28:])
        assert torch.equal(plan[0, :3], prefix[-3:])
    elsewhere = likeliest_plan(model, prefixes, 4, 3, (goals + 3) % 7, 3)
    assert not torch.equal(elsewhere, plans)


def test_without_a_goal_the_likeliest_continuation_is_planned(reference):
    model = reference[1]
    layout = model.layout
    prefixes = [
        torch.randint(model.vocab_size, (n * layout.dim + layout.observation_dim,), generator=torch.Generator())
        for n in (0, 1)
    ]
    plans = likeliest_plan(model, prefixes, 2, 3)
    for prefix, plan in zip(prefixes, plans, strict=True):
        n_tokens = 2 * layout.dim - layout.observation_dim
        slow, _ = beam_search(model, prefix[None], n_tokens, 3, cached=False)
        assert torch.equal(plan.flatten(), slow[-2 * layout.dim :])


def test_a_way_to_a_goal_is_refused_where_a_plan_would_be(reference):
    _, model, _ = reference
    with pytest.raises(InputError, match='horizon must be at least 1'):
        likeliest_plan(model, [torch.zeros(3, dtype=torch.long)], 0, 2, torch.zeros(1, 3, dtype=torch.long))


def test_the_estimate_grows_with_what_makes_a_plan_large(reference):
    model = reference[1]
    n_bytes, flops = estimate_plan(model, 1, SearchSettings(3, 4, 2))
    assert n_bytes > 0
    for more in ((10, SearchSettings(3, 4, 2)), (1, SearchSettings(3, 40, 2)), (1, SearchSettings(3, 4, 20))):
        assert estimate_plan(model, *more) == (10 * n_bytes, 10 * flops)
    assert estimate_plan(model, 1, SearchSettings(6, 4, 2))[1] == 2 * flops
