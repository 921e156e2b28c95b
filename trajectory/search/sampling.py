"""Draw the next tokens of sequences from a model.

B  sequences      T  tokens so far      V  tokens to choose from: the bins, and the stop token
"""

import torch
from torch import Tensor

from trajectory.search.sequences import CachedSequences, forward, round_to_multiple
from trajectory.utils.errors import InputError

__all__ = [
    'check_k',
    'check_search',
    'check_temperature',
    'decode',
    'filter_cdf',
    'filtered',
    'forward',
    'get_logp',
    'inverse_cdf',
    'round_to_multiple',
    'sample',
    'sample_n',
    'sample_token',
    'sampler_from_generators',
    'sampler_from_uniforms',
    'shrink_towards_mean',
    'sort_2d',
    'top_k_logits',
]


def top_k_logits(logits: Tensor, k: int) -> Tensor:
    """Remove all but the k likeliest tokens; those level with the k-th stay.    logits, returns : [ B x V ]"""
    kth = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < kth, float('-inf'))


def filter_cdf(logits: Tensor, threshold: float) -> Tensor:
    """Remove the least likely tokens, while their cumulative probability stays below `threshold`.

    As in the reference the least likely token goes in any case, and with a removed token go those level with it;
    a row that would lose every token keeps them all.    logits, returns : [ B x V ]
    """
    probs = logits.softmax(dim=-1)
    ordered = probs.sort(dim=-1).values
    n_below = (ordered.cumsum(dim=-1) < threshold).sum(dim=-1, keepdim=True)
    likeliest_removed = ordered.gather(-1, (n_below - 1).clamp(min=0))  # [ B x 1 ]
    removed = (probs <= likeliest_removed) & (likeliest_removed < ordered[..., -1:])
    return logits.masked_fill(removed, float('-inf'))


def sort_2d(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sort a matrix as a whole, largest first.    x : [ M x N ]    returns : values, rows, columns, [ M·N ] each"""
    values, places = x.flatten().sort(descending=True, stable=True)
    return values, places // x.shape[1], places % x.shape[1]


def filtered(logits: Tensor, temperature: float = 1.0, topk: int | None = None, cdf: float | None = None) -> Tensor:
    """Logits at a temperature, less what `filter_cdf`, then `top_k_logits` remove.    logits, returns : [ B x V ]"""
    logits = logits / temperature
    if cdf is not None:
        logits = filter_cdf(logits, cdf)
    return logits if topk is None else top_k_logits(logits, topk)


def get_logp(
    model, x: Tensor, temperature: float = 1.0, topk: int | None = None, cdf: float | None = None, **forward_kwargs
) -> Tensor:
    """Log-probabilities of the next token.    x : [ B x T ]    returns : [ B x V ]"""
    logits = forward(model, x, **forward_kwargs)[:, -1]
    return filtered(logits, temperature, topk, cdf).log_softmax(dim=-1)


def inverse_cdf(probs: Tensor, uniforms: Tensor) -> Tensor:
    """The first token whose cumulative probability reaches the row's number in [0, 1).

    probs : [ B x V ]    uniforms : [ B ]    returns : [ B x 1 ]
    """
    cumulative = probs.double().cumsum(dim=-1)
    reached = cumulative >= (uniforms.double()[:, None] * cumulative[:, -1:]).clamp(min=torch.finfo(torch.double).tiny)
    return reached.int().argmax(dim=-1, keepdim=True)


def sampler_from_generators(generators: list[torch.Generator | None]):
    """A function that draws one token a row; each generator serves an equal share of the rows, in order.

    returns : function from distributions [ B x V ] to tokens [ B x 1 ]
    """

    def draw(probs):
        share = len(probs) // len(generators)
        uniforms = torch.cat(
            [
                torch.rand(share, generator=generator, dtype=torch.double, device=probs.device)
                for generator in generators
            ]
        )
        return inverse_cdf(probs, uniforms)

    return draw


def sampler_from_uniforms(uniforms: Tensor, n_rows: int = 1, share: slice = slice(None)):
    """The same, of numbers drawn beforehand, each used once.

    uniforms : [ G x n ]
    n_rows   : of a group; it may come several times over
    share    : of those rows, which the sampler is for: it leaves out the numbers of the others
    """
    used, n_mine = 0, len(range(n_rows)[share])

    def draw(probs):
        nonlocal used
        n_used = len(probs) // len(uniforms) // n_mine * n_rows
        used += n_used
        mine = uniforms[:, used - n_used : used].unflatten(1, (-1, n_rows))[:, :, share]
        return inverse_cdf(probs, mine.flatten())

    return draw


def sample_token(logits: Tensor, draw, temperature: float = 1.0, topk: int | None = None, cdf: float | None = None):
    """Choose a token a row: the likeliest if `topk` is 1, else drawn after the filters.

    logits  : [ B x V ]
    returns : [ B x 1 ] tokens, and [ B x V ] their distribution before the filters
    """
    probs = (logits / temperature).softmax(dim=-1)
    if topk == 1:
        return probs.argmax(dim=-1, keepdim=True), probs
    if topk is None and cdf is None:
        return draw(probs), probs
    return draw(filtered(logits, temperature, topk, cdf).softmax(dim=-1)), probs


def sample(
    model,
    x: Tensor,
    temperature: float = 1.0,
    topk: int | None = None,
    cdf: float | None = None,
    generator: torch.Generator | None = None,
    **forward_kwargs,
):
    """Draw the next token of every sequence.

    x       : [ B x T ]
    returns : [ B x 1 ] tokens, and [ B x V ] their distribution before `topk` and `cdf`
    """
    logits = forward(model, x, **forward_kwargs)[:, -1]
    return sample_token(logits, sampler_from_generators([generator]), temperature, topk, cdf)


def decode(sequences, draw, n_tokens, how, shrink=None):
    """Draw `n_tokens` more a row.

    shrink  : what moves each drawn token towards the mean of what it was drawn from, see `shrink_towards_mean`
    returns : [ G·R x n_tokens x V ]  what they were drawn from, unfiltered
    """
    distributions = []
    for column in range(n_tokens):
        tokens, probs = sample_token(sequences.logits(), draw, **how)
        if shrink is not None:
            tokens = shrink(tokens, probs, column)
        sequences.append(tokens)
        distributions.append(probs)
    return torch.stack(distributions, dim=1)


def shrink_towards_mean(edges: Tensor, values: Tensor, factor: float):
    """A function that moves drawn numbers towards the mean of their distribution, and leaves `factor` of the way.

    Policies that made data explore, and a drawn action repeats their noise; the mean of the distribution does not.
    The likeliest bin is no stand-in for it: bins of equal counts are narrow where actions are common, so that the
    likeliest one is often one of the wide bins at the ends.

    edges   : [ N + 1 x a ]  of the action columns' bins
    values  : [ N x a ]  what their tokens stand for
    returns : function from tokens [ B x 1 ], their distributions [ B x V ], and the column to tokens [ B x 1 ]
    """

    def shrink(tokens, probs, column):
        inside = probs[:, :-1].to(values.dtype)
        total = inside.sum(dim=-1).clamp(min=torch.finfo(values.dtype).tiny)
        mean = (inside * values[:, column]).sum(dim=-1) / total
        drawn = values[tokens[:, 0].clamp(max=len(values) - 1), column]
        inner = edges[1:-1, column].contiguous()
        return torch.bucketize(mean + factor * (drawn - mean), inner, right=True)[:, None]

    return shrink


@torch.no_grad()
def sample_n(
    model,
    x: Tensor,
    N: int,
    max_block: int | None = None,
    crop_increment: int | None = None,
    goal: Tensor | None = None,
    generator: torch.Generator | None = None,
    **sample_kwargs,
):
    """Draw N more tokens for every sequence.

    x       : [ B x T ]
    returns : [ B x T+N ], and [ B x N x V ] the distributions before `topk` and `cdf`
    """
    limit = check_search(model, x, N, max_block, crop_increment, sample_kwargs.get('topk'))
    model.eval()
    x = x.to(model.pos_emb.device)
    goal = None if goal is None else goal.to(model.pos_emb.device)
    sequences = CachedSequences(model, x, len(x), limit, goal, n_shared=x.shape[1])
    probs = decode(sequences, sampler_from_generators([generator]), N, sample_kwargs)
    return sequences.tokens, probs


def check_search(
    model, x: Tensor, n_steps: int, max_block: int | None, crop_increment: int | None, topk: int | None
) -> int:
    """Refuse what cannot be gone on with, before any work.    returns : tokens the model may see"""
    dim, block_size = model.transition_dim, model.get_block_size()
    if n_steps < 1:
        raise InputError(f'to go on takes at least 1 step, got {n_steps}')
    if not x.shape[1]:
        raise InputError('there is no token to go on from')
    if crop_increment not in (None, dim):
        raise InputError(f'a crop takes whole transitions of {dim} tokens, not {crop_increment}')
    if max_block is not None and max_block < dim:
        raise InputError(f'max_block must hold a transition of {dim} tokens, got {max_block}')
    check_k(model, 'topk', topk)
    return min(block_size, max_block or block_size)


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that no distribution can have."""
    if not 0 < temperature < float('inf'):
        raise InputError(f'temperature must be above 0 and finite, got {temperature}.\n  Pass --temperature 1, say.')


def check_k(model, name: str, k: int | None) -> None:
    """Refuse to choose among less than one token, or more than a column has."""
    if k is not None and not 1 <= k <= model.vocab_size + 1:
        raise InputError(
            f'{name} must be between 1 and the {model.vocab_size + 1} tokens of a column, got {k}.\n'
            f'  Pass --{name} None to keep them all.'
        )
