"""Plan by beam search over imagined trajectories.

G  episodes      T  tokens of a prefix      D  tokens of a transition      H  transitions imagined
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from trajectory.search.graphs import Graphs
from trajectory.search.q_values import rank
from trajectory.search.sampling import (
    check_search,
    decode,
    filtered,
    sampler_from_uniforms,
    shrink_towards_mean,
    sort_2d,
)
from trajectory.search.sequences import CachedSequences, UncachedSequences, crop_length
from trajectory.search.settings import SearchSettings
from trajectory.search.shards import Shards
from trajectory.search.traces import SearchTrace
from trajectory.utils.errors import InputError
from trajectory.utils.layout import REWARD_DIM, VALUE_DIM, TransitionLayout
from trajectory.utils.progress import Progress, Silent

THREAD_WORK = 12e6  # floating-point operations, a block and token, for which a thread is worth its waits for Python
VALUE_PLACEHOLDER = 1e6  # stands for a value in a context: the model attends to no value token


def beam_plan(
    model,
    value_fn: Callable,
    x: Tensor | Sequence[Tensor],
    n_steps: int,
    beam_width: int,
    n_expand: int,
    observation_dim: int,
    action_dim: int,
    discount: float = 0.99,
    max_context_transitions: int | None = None,
    k_obs: int | None = None,
    k_act: int | None = None,
    k_rew: int | None = 1,
    cdf_obs: float | None = None,
    cdf_act: float | None = None,
    cdf_rew: float | None = None,
    verbose: bool = True,
    *,
    temperature: float = 1.0,
    previous_actions=None,  # noqa: ARG001
    **options,
) -> Tensor:
    """Imagine `n_steps` transitions, keeping the candidates of highest value (Janner et al. 2021, algorithm 1).

    The reference's form of `search`: settings one by one, and the dimensions of the model's transitions beside them.
    `previous_actions` is accepted for the reference's scripts, and ignored as there.
    """
    layout = TransitionLayout(observation_dim, action_dim)
    if layout != model.layout:
        raise InputError(
            f'a transition of this plan has {layout.dim} numbers, one of the model {model.layout.dim}; '
            'was the model trained on another dataset?'
        )
    settings = SearchSettings(
        horizon=n_steps,
        beam_width=beam_width,
        n_expand=n_expand,
        discount=discount,
        max_context_transitions=max_context_transitions,
        temperature=temperature,
        k_obs=k_obs,
        k_act=k_act,
        k_rew=k_rew,
        cdf_obs=cdf_obs,
        cdf_act=cdf_act,
        cdf_rew=cdf_rew,
    )
    return search(model, value_fn, x, settings, verbose=verbose, **options)


@torch.no_grad()
def search(
    model,
    value_fn: Callable,
    x: Tensor | Sequence[Tensor],
    settings: SearchSettings,
    *,
    verbose: bool = False,
    goal: Tensor | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    draw: Callable | None = None,
    cached: bool = True,
    n_threads: int = 1,
    graphs: Graphs | None = None,
    discretizer=None,
    traces: list | None = None,
) -> Tensor:
    """Imagine `settings.horizon` transitions, keeping the candidates of highest value.

    value_fn   : from distributions [ B x 2 x V ] over reward and value tokens to two [ B ]; one whose attribute
                 `sees_candidates` is true is given the candidates' tokens, [ B x T ], as well
    x          : [ G x T ] tokens of context and present observation; a list of [ T ], if lengths differ
    goal       : [ G x observation_dim ] tokens, for a `ConditionalGPT`
    generator  : where the draws come from; several episodes take a list, so that each draws as it would alone
    draw       : instead of it, a function from distributions [ B x V ] to tokens [ B x 1 ]
    cached     : False reads the window anew for every token, the slow oracle
    graphs     : of this model and `value_fn`, to plan faster on a GPU from the second time on
    n_threads  : CPU threads of one torch thread each; several share out the episodes of a list of generators among
                 them, or the candidates of all episodes, where that is fairer; the plans are the same
    discretizer : of the model's columns, which `settings.action_noise` needs
    traces     : an empty list, which gets a `SearchTrace` of each prefix, in their order; no graph is used then
    returns    : [ G x H x D ] tokens of the best candidates, their values left in; [ H x D ] if `x` is [ 1 x T ]
    """
    layout, device = model.layout, model.pos_emb.device
    prefixes = [row.to(device) for row in x]
    goal = None if goal is None else goal.to(device)
    limit = settings.fit(model)
    check_prefixes(layout, prefixes)
    prefixes = [row[crop_length(len(row), limit, layout.dim) :] for row in prefixes]  # what the model never sees
    each_its_own = draw is None and isinstance(generator, Sequence)
    generators = list(generator) if each_its_own else [generator] * len(prefixes)
    if not prefixes or len(generators) != len(prefixes):
        raise InputError(
            f'{len(generators)} generators for {len(prefixes)} prefixes'
            if prefixes
            else 'there is no prefix to plan from'
        )
    n_draws = _count_draws(layout, settings)
    largest_share = -(-len(prefixes) // n_threads)
    by_episode = each_its_own and n_threads > 1 and largest_share * n_threads < 1.1 * len(prefixes)
    shares = _of_equal_length(prefixes, most=largest_share if by_episode else len(prefixes))
    by_candidate = draw is None and not by_episode and device.type == 'cpu'
    shrink = _make_shrink(model, settings, discretizer)
    kept = {}  # traces, by prefix

    def plan_for(members):
        together = torch.stack([prefixes[i] for i in members])
        goals = [] if goal is None else [goal[members]]
        steps = None if traces is None else []

        def plan(prefixes, uniforms, goal=None):
            return _plan_together(
                model,
                value_fn,
                prefixes,
                settings,
                limit,
                goal,
                partial(sampler_from_uniforms, uniforms, settings.beam_width) if draw is None else lambda _: draw,
                shrink,
                steps,
                cached=cached,
                n_threads=n_threads if by_candidate else 1,
                progress=(Progress if verbose else Silent)(settings.horizon, name='plan'),
            )

        uniforms = _draw_uniforms([generators[i] for i in members], n_draws, device)
        if graphs is None or draw or not cached or steps is not None:
            plans = plan(together, uniforms, *goals)
            kept.update({} if steps is None else zip(members, SearchTrace.of_groups(steps), strict=True))
            return plans
        return graphs((together.shape[1:], settings), plan, together, uniforms, *goals)

    with ThreadPoolExecutor(n_threads) if by_episode else nullcontext() as threads:
        plans = list((threads.map if threads else map)(plan_for, shares))
    if traces is not None:
        traces.extend(kept[i] for i in range(len(prefixes)))
    plans, order = torch.cat(plans), [i for members in shares for i in members]
    if order != sorted(order):
        plans = plans[torch.tensor(order).argsort().to(plans.device)]
    return plans[0] if torch.is_tensor(x) and len(plans) == 1 else plans


@torch.no_grad()
def _plan_together(
    model, value_fn, prefixes, settings, limit, goal, sampler, shrink, steps, *, progress, cached, n_threads
):
    """Plan for prefixes of one length.

    prefixes : [ G x T ]
    sampler  : from a slice of the candidates to what draws their tokens
    steps    : for traces
    returns  : [ G x H x D ]
    """
    n_groups, n_context = prefixes.shape
    layout, device, dtype = model.layout, prefixes.device, model.pos_emb.dtype
    n_steps, beam_width, sampling = settings.horizon, settings.beam_width, settings.sampling
    if cached:
        sequences = CachedSequences(model, prefixes, n_groups, limit, goal, n_shared=n_context)
    else:
        sequences = UncachedSequences(model, prefixes, n_groups, limit, goal)
    sequences.repeat(beam_width)
    rewards = torch.zeros(n_groups, beam_width, n_steps + 1, device=device, dtype=dtype)
    discounts = settings.discount ** torch.arange(n_steps + 1, device=device, dtype=dtype)

    @torch.no_grad()  # of this thread
    def imagine(t, part, draw):
        if t:
            decode(part, draw, layout.observation_dim, sampling['obs'])
        part.repeat(settings.n_expand)
        decode(part, draw, layout.action_dim, sampling['act'], shrink)
        distributions = decode(part, draw, REWARD_DIM + VALUE_DIM, sampling['rew'])
        return [x.view(n_groups, settings.n_expand, -1) for x in rank(value_fn, distributions, part.tokens)]

    with Shards(sequences, beam_width, sampler, n_threads) as shards:
        for t in range(n_steps):
            imagined = shards.map(partial(imagine, t))
            reward, value = (torch.cat(x, dim=-1).flatten(1) for x in zip(*imagined, strict=True))  # [ G x R ]
            rewards = rewards.repeat(1, settings.n_expand, 1)
            rewards[..., t] = reward
            rewards[..., t + 1] = value
            values = (rewards * discounts).sum(dim=-1)
            # single precision, first come first served: candidates that differ in a value token alone are level, and
            # rounding must not choose between them
            best = values.float().sort(dim=-1, descending=True, stable=True).indices[:, :beam_width]
            if steps is not None:
                steps.append((shards.tokens()[..., -layout.dim :], values, best))
            shards.select(best)
            rewards = rewards.gather(1, best[..., None].expand(-1, -1, n_steps + 1))
            progress.update()
        progress.close()
        return shards.tokens()[:, 0, -n_steps * layout.dim :].unflatten(-1, (n_steps, layout.dim))


@torch.no_grad()
def beam_search(
    model,
    x: Tensor,
    n_steps: int,
    beam_width: int = 512,
    goal: Tensor | None = None,
    *,
    max_block: int | None = None,
    crop_increment: int | None = None,
    cached: bool = True,
    **sample_kwargs,
) -> tuple[Tensor, Tensor]:
    """Find the likeliest continuations, token by token: imitation, or the way to a goal.

    x             : [ B x T ]  one or more sequences to continue, together
    goal          : [ 1 x observation_dim ] tokens, for a `ConditionalGPT`
    sample_kwargs : temperature, topk, cdf
    returns       : [ T+n_steps ] the likeliest sequence, and [ beam_width ] log-probabilities of all that were kept
    """
    if beam_width < 1:
        raise InputError(f'a search needs a beam of at least 1, got {beam_width}')
    limit = check_search(model, x, n_steps, max_block, crop_increment, sample_kwargs.get('topk'))
    model.eval()
    x = x.to(model.pos_emb.device)
    goal = None if goal is None else goal.to(model.pos_emb.device)
    if cached:
        n_shared = x.shape[1] if len(x) == 1 else 0
        sequences = CachedSequences(model, x, 1, limit, goal, n_shared=n_shared)
    else:
        sequences = UncachedSequences(model, x, 1, limit, goal)
    total = x.new_zeros(len(x), 1, dtype=model.pos_emb.dtype)
    for _ in range(n_steps):
        candidates = total + filtered(sequences.logits(), **sample_kwargs).log_softmax(dim=-1)  # [ R x V ]
        logp, rows, tokens = sort_2d(candidates)
        n_kept = min(int((candidates > float('-inf')).sum()), beam_width)
        sequences.select(rows[None, :n_kept])
        sequences.append(tokens[:n_kept, None])
        total = logp[:n_kept, None]
    return sequences.tokens[0], total[:, 0]


@torch.no_grad()
def likeliest_plan(
    model,
    x: Tensor | Sequence[Tensor],
    n_steps: int,
    beam_width: int,
    goal: Tensor | None = None,
    max_context_transitions: int | None = None,
    *,
    n_threads: int = 1,
) -> Tensor:
    """Imagine the likeliest `n_steps` transitions, of those that lead to a goal where there is one.

    x         : [ G x T ] tokens of context and present observation; a list of [ T ], if lengths differ
    goal      : [ G x observation_dim ] tokens, for a `ConditionalGPT`
    n_threads : that share out the episodes among them
    returns   : [ G x H x D ] tokens
    """
    layout = model.layout
    settings = SearchSettings(n_steps, beam_width, max_context_transitions=max_context_transitions)
    limit = settings.fit(model)
    check_prefixes(layout, x)
    n_tokens = n_steps * layout.dim - layout.observation_dim

    def plan(prefix, goal):
        goal = None if goal is None else goal[None]
        tokens, _ = beam_search(model, prefix[None], n_tokens, beam_width, goal, max_block=limit)
        return tokens[-n_steps * layout.dim :].view(n_steps, layout.dim)

    with ThreadPoolExecutor(n_threads) as threads:
        return torch.stack(list(threads.map(plan, x, [None] * len(x) if goal is None else goal)))


def check_prefixes(layout, prefixes) -> None:
    """Raise InputError for a prefix that does not end after an observation.    prefixes : [ T ] each"""
    for prefix in prefixes:
        if prefix.ndim != 1 or len(prefix) % layout.dim != layout.observation_dim:
            raise InputError(
                f'a prefix must end after an observation, so have {layout.observation_dim} tokens more than whole '
                f'transitions of {layout.dim}; this one has shape {list(prefix.shape)}'
            )


def estimate_plan(model, n_episodes: int, settings: SearchSettings) -> tuple[int, int]:
    """What planning for some episodes takes, roughly.

    returns : bytes of keys, values and distributions; floating-point operations of one plan for all
    """
    width, n_layer, dim, n_steps = model.embedding_dim, len(model.blocks), model.transition_dim, settings.horizon
    n_rows = n_episodes * settings.beam_width * settings.n_expand
    n_kept = min(settings.fit(model), n_steps * dim)
    per_row = 8 * n_layer * width * n_kept + 4 * 8 * width + 8 * dim * (model.vocab_size + 1)
    flops = 2 * n_rows * n_steps * dim * (12 * n_layer * width**2 + (model.vocab_size + 1) * width)
    return n_rows * per_row, flops


def useful_threads(model, n_episodes: int, settings: SearchSettings, n_threads: int) -> int:
    """How many of these CPU threads make a plan for some episodes faster: with too little to do they only wait."""
    work = 24 * n_episodes * settings.beam_width * settings.n_expand * model.embedding_dim**2
    return max(1, min(n_threads, int(work / THREAD_WORK)))


def _make_shrink(model, settings, discretizer):
    """What `settings.action_noise` does to drawn actions; None where it is None."""
    if settings.action_noise is None:
        return None
    if discretizer is None:
        raise InputError('action_noise needs to know what actions the tokens stand for.\n  Pass discretizer=…, too.')
    columns = model.layout.action
    edges, values = (
        torch.as_tensor(x, dtype=model.pos_emb.dtype, device=model.pos_emb.device)
        for x in (discretizer.thresholds[:, columns], discretizer.token_values(columns))
    )
    return shrink_towards_mean(edges, values, settings.action_noise)


def _draw_uniforms(generators, n, device):
    """[ G x n ]  numbers in [0, 1), a row from each generator, or from the global one where it is None."""
    rows = []
    for generator in generators:
        where = device if generator is None else generator.device
        rows.append(torch.rand(n, generator=generator, dtype=torch.double, device=where).to(device))
    return torch.stack(rows)


def _count_draws(layout, settings):
    """Random numbers that an episode's plan takes: one a row and token, but none where the likeliest is taken."""
    n_rows, n_candidates = settings.beam_width, settings.beam_width * settings.n_expand
    n_draws = {
        'obs': (settings.horizon - 1) * n_rows * layout.observation_dim,
        'act': settings.horizon * n_candidates * layout.action_dim,
        'rew': settings.horizon * n_candidates * (REWARD_DIM + VALUE_DIM),
    }
    return sum(n for column, n in n_draws.items() if settings.sampling[column]['topk'] != 1)


def _of_equal_length(prefixes, most):
    """Indices of the prefixes, those of one length together, at most so many."""
    together = {}
    for i, prefix in enumerate(prefixes):
        together.setdefault(len(prefix), []).append(i)
    return [members[start : start + most] for members in together.values() for start in range(0, len(members), most)]
