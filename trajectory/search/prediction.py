"""Predict what recorded actions lead to, many steps ahead and without looking again."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from trajectory.search.sampling import decode, sampler_from_generators
from trajectory.search.sequences import CachedSequences
from trajectory.search.settings import SearchSettings
from trajectory.utils.errors import InputError


@dataclass(frozen=True)
class Segments:
    """Pieces of recorded episodes, all as long: C transitions of context, and T steps from where predictions begin.

    raw       : [ n x C + T + 1 x D ]  transitions
    n_context : C
    """

    raw: np.ndarray
    n_context: int

    @property
    def n_steps(self) -> int:
        return self.raw.shape[1] - self.n_context - 1

    def from_start(self, columns: slice) -> np.ndarray:
        """Columns from the start of the prediction on, [ n x T + 1 x … ]."""
        return self.raw[:, self.n_context :, columns]


def gather_segments(dataset, episodes: np.ndarray, n: int, n_context: int, n_steps: int, seed: int) -> Segments:
    """Draw places in episodes where a context lies before, and so many steps lie ahead.    episodes : their numbers"""
    lengths = dataset.path_lengths
    first = np.cumsum(lengths) - lengths
    span = n_context + n_steps + 1
    starts = [first[k] + np.arange(lengths[k] - span + 1) for k in episodes if lengths[k] >= span]
    if not starts:
        raise InputError(
            f'no episode is as long as {n_context} transitions of context and {n_steps} steps.\n'
            f'  Pass a smaller --n_steps; the longest has {max(lengths[k] for k in episodes)}.'
        )
    starts = np.random.default_rng(seed).permutation(np.concatenate(starts))[:n]
    return Segments(dataset.joined_raw[starts[:, None] + np.arange(span)], n_context)


@torch.no_grad()
def predict_by_tokens(model, discretizer, segments: Segments, k_obs: int | None = 1, seed: int = 0) -> np.ndarray:
    """What a Trajectory Transformer predicts, given the recorded actions, token by token.

    k_obs   : draws observations from the k likeliest tokens; 1 takes the likeliest
    returns : [ n x T x d ]  observations after each action
    """
    model.eval()
    layout, device, n = model.layout, model.pos_emb.device, len(segments.raw)
    tokens = discretizer.discretize(segments.raw.reshape(n * segments.raw.shape[1], -1))
    tokens = torch.as_tensor(tokens, device=device).view(n, -1, layout.dim)
    known = segments.n_context * layout.dim + layout.observation_dim
    how = SearchSettings(k_obs=k_obs).sampling
    draw = sampler_from_generators([torch.Generator(device).manual_seed(seed)])
    limit = SearchSettings(horizon=2).fit(model)
    sequences = CachedSequences(model, tokens.flatten(1)[:, :known], 1, limit, n_shared=0)
    found = []
    for t in range(segments.n_steps):
        for column in range(layout.action_dim):
            action = tokens[:, segments.n_context + t, layout.observation_dim + column, None]
            sequences.append(action)
        decode(sequences, draw, 2, how['rew'])
        decode(sequences, draw, layout.observation_dim, how['obs'])
        found.append(sequences.tokens[:, -layout.observation_dim :])
    stacked = torch.stack(found, dim=1)
    numbers = discretizer.reconstruct(stacked.flatten(0, 1), (0, layout.observation_dim))
    return numbers.reshape(n, segments.n_steps, layout.observation_dim)


def predict_by_steps(predict: Callable, layout, segments: Segments) -> np.ndarray:
    """What a one-step model predicts, from its own predictions on.

    predict : from observations [ n x d ] and actions [ n x a ] to the next observations
    returns : [ n x T x d ]
    """
    actions = torch.as_tensor(segments.from_start(layout.action), dtype=torch.float32)
    seen = torch.as_tensor(segments.from_start(layout.observation)[:, 0], dtype=torch.float32)
    found = []
    for t in range(segments.n_steps):
        seen = predict(seen, actions[:, t])
        found.append(seen)
    return torch.stack(found, dim=1).numpy()


def prediction_errors(predicted: np.ndarray, segments: Segments, layout, deviations: np.ndarray) -> np.ndarray:
    """Root of the mean squared error over the columns, each in units of its deviation in the data.

    predicted : [ n x T x d ]    deviations : [ d ]    returns : [ n x T ]
    """
    truth = segments.from_start(layout.observation)[:, 1:]
    return np.sqrt((((predicted - truth) / deviations) ** 2).mean(axis=-1))
