"""Measure a model's predictions against recorded data: q, its spread over actions, and the loss of each column.

q is a reward and the discounted value after it, as a planner ranks candidates one step ahead.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from trajectory.search.q_values import rank
from trajectory.search.sampling import decode, sampler_from_generators
from trajectory.search.sequences import UncachedSequences
from trajectory.search.settings import SearchSettings
from trajectory.utils.errors import InputError

ROWS = 512  # that the model reads at once


@dataclass(frozen=True)
class Windows:
    """Whole windows of recorded transitions, all of K.    raw, tokens : [ n x K x D ]"""

    raw: np.ndarray
    tokens: torch.Tensor


def gather_windows(dataset, discretizer, model, indices: torch.Tensor, n: int, seed: int) -> Windows:
    """Draw windows that fill the model's block.    indices : of the windows to draw from"""
    n_steps = (model.get_block_size() + 1) // dataset.layout.dim
    whole = dataset.indices[indices.numpy()]
    lengths = dataset.path_lengths[whole[:, 0]]
    fits = whole[:, 1] + (n_steps - 1) * dataset.step < lengths
    if not fits.any():
        raise InputError(f'no episode held out is as long as a window of {n_steps} transitions.')
    paths, starts, _ = np.random.default_rng(seed).permutation(whole[fits])[:n].T
    first = np.cumsum(dataset.path_lengths)[paths] - dataset.path_lengths[paths] + starts
    raw = dataset.joined_raw[first[:, None] + dataset.step * np.arange(n_steps)]
    tokens = discretizer.discretize(raw.reshape(-1, raw.shape[-1])).reshape(raw.shape)
    return Windows(raw, torch.as_tensor(tokens, dtype=torch.long))


@torch.no_grad()
def predict_q(
    model, value_fn: Callable, windows: Windows, discount: float, n_actions: int = 0, seed: int = 0
) -> np.ndarray:
    """q of the last transition of each window as it is predicted.

    value_fn  : of the model's predictions, or a `QRanking`
    n_actions : 0 takes the recorded action, and returns [ n ]; more draw so many actions, and return [ n x n_actions ]
    """
    model.eval()
    layout, how = model.layout, SearchSettings().sampling
    n_known = layout.observation_dim + (0 if n_actions else layout.action_dim)
    prefixes = windows.tokens.flatten(1)[:, : n_known - layout.dim]
    prefixes, found = prefixes.repeat_interleave(max(1, n_actions), dim=0), []
    draw = sampler_from_generators([torch.Generator().manual_seed(seed)])
    for rows in prefixes.split(ROWS):
        sequences = UncachedSequences(model, rows.to(model.pos_emb.device), 1, model.get_block_size())
        if n_actions:
            decode(sequences, draw, layout.action_dim, how['act'])
        distributions = decode(sequences, draw, 2, how['rew'])
        reward, value = rank(value_fn, distributions, sequences.tokens)
        found.append((reward + discount * value).cpu())
    q = torch.cat(found).numpy()
    return q.reshape(len(windows.raw), n_actions) if n_actions else q


def recorded_q(layout, windows: Windows, discount: float) -> np.ndarray:
    """q of the last transition of each window as it was recorded, [ n ]."""
    last = windows.raw[:, -1]
    return last[:, layout.reward] + discount * last[:, layout.value]


@torch.no_grad()
def column_losses(model, windows: Windows) -> tuple[np.ndarray, float]:
    """Mean cross-entropy of each column of a transition, [ D ] nats, and the mean probability of the stop token."""
    model.eval()
    losses, stops, dim = [], [], model.layout.dim
    for rows in windows.tokens.flatten(1).split(ROWS // 8):
        rows = rows.to(model.pos_emb.device)
        log_probs = model(rows[:, :-1])[0].log_softmax(dim=-1)
        losses.append(-log_probs.gather(2, rows[:, 1:, None])[..., 0].cpu())
        stops.append(log_probs[..., -1].exp().cpu())
    losses = torch.cat(losses).mean(dim=0)
    columns = torch.arange(1, len(losses) + 1) % dim
    return np.array([losses[columns == k].mean().item() for k in range(dim)]), torch.cat(stops).mean().item()
