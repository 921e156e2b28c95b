"""Turn numbers into tokens and back, a bin at a time.

D  columns of a transition      N  bins of a column, between N + 1 edges
"""

import hashlib
import zipfile

import numpy as np
import torch
from torch import Tensor

from trajectory.utils.errors import InputError
from trajectory.utils.files import check_regular, write_atomically
from trajectory.utils.layout import REWARD_DIM, VALUE_DIM

MAX_FILE = 2**28  # bytes of edges that are read


def largest_nonzero_index(x: np.ndarray, dim: int) -> np.ndarray:
    """The last place along `dim` where `x` is true; -1 where it never is."""
    n = x.shape[dim]
    last = n - 1 - np.argmax(np.flip(x, dim), axis=dim)
    return np.where(x.any(axis=dim), last, -1)


class QuantileDiscretizer:
    """Bins that hold equally many of the data's values, column by column.

    data : [ steps x D ]

    A value's token is the last edge not above it, within 0 … N−1; a token's value is the middle of its bin.
    A constant column has all its edges in one place, so its token is N − 1.
    """

    repeats = False  # whether a token may stand for a value that the data repeats, see `with_repeats`

    def __init__(self, data: np.ndarray, N: int):
        if N < 1:
            raise InputError(f'a column needs at least 1 bin, got N = {N}.\n  Pass --N 100, say.')
        if len(data) == 0:
            raise InputError('there are no values to make bins of; the dataset holds no steps.')
        self.N = N
        self.thresholds = self.find_edges(np.asarray(data, dtype=np.float64))  # [ N + 1 x D ]
        self._on_device = {}

    def find_edges(self, data: np.ndarray) -> np.ndarray:
        """[ N + 1 x D ]  every ⌈steps/N⌉-th of the sorted values, and the largest."""
        ordered = np.sort(data, axis=0)
        edges = ordered[:: -(-len(data) // self.N)]
        if len(edges) < self.N:  # too few steps for whole bins: spread the edges evenly over those there are
            edges = ordered[np.arange(self.N) * len(data) // self.N]
        return np.concatenate([edges, ordered[-1:]])

    def save(self, path) -> None:
        """Write the edges, as `load_discretizer` reads them."""
        with write_atomically(path) as partial:
            np.savez_compressed(partial, thresholds=self.thresholds)

    def checksum(self) -> str:
        """A short name of these edges, which others do not have."""
        return hashlib.sha256(self.thresholds.tobytes()).hexdigest()[:16]

    @classmethod
    def from_thresholds(cls, thresholds: np.ndarray):
        """The discretizer that has these edges.    thresholds : [ N + 1 x D ]"""
        self = cls.__new__(cls)
        self.N = len(thresholds) - 1
        self.thresholds = np.asarray(thresholds, dtype=np.float64)
        self._on_device = {}
        return self

    def with_repeats(self) -> 'QuantileDiscretizer':
        """One of the same edges, in which the token of a value that the data repeats stands for that value.

        A value that more steps have than a bin holds, an action at its lower limit or a reward of 0, makes edges fall
        together. Its token is the last of their bins, which reaches up to the next value: the middle of that bin is
        a value that the data need not have, and an action short of its limit whenever it should be at it.
        """
        other = self.from_thresholds(self.thresholds)
        other.repeats = True
        return other

    # ------------------------------- tokens ------------------------------- #

    def __call__(self, x) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens of values, the values of those tokens, and their largest errors.    x : [ B x D ]

        returns : [ B x D ], [ B x D ], [ D ]
        """
        indices = self.discretize(x)
        reconstruction = self.reconstruct(indices)
        return indices, reconstruction, np.abs(_as_batch(x) - reconstruction).max(axis=0)

    def discretize(self, x, subslice=(None, None)) -> np.ndarray:
        """Tokens of values.

        x        : [ B x d ] or [ d ]  values of the columns `start` to `end` of `subslice`
        returns  : [ B x d ]  tokens, 0 … N−1
        """
        x = _as_batch(x)
        edges = self._edges(x, subslice)
        tokens = np.empty(x.shape, dtype=np.int64)
        for column in range(x.shape[1]):
            tokens[:, column] = np.searchsorted(edges[:, column], x[:, column], side='right')
        return np.clip(tokens - 1, 0, self.N - 1, out=tokens)

    def reconstruct(self, indices, subslice=(None, None)) -> np.ndarray:
        """Values of tokens, see `token_values`; a stop token reads as the last bin.

        indices : [ B x d ] or [ d ]    returns : [ B x d ]
        """
        indices = _as_batch(indices)
        edges = self._edges(indices, subslice)
        return np.take_along_axis(self._values(edges), np.clip(indices, 0, self.N - 1), axis=0)

    def token_values(self, columns=slice(None)) -> np.ndarray:
        """What the tokens of some columns stand for: the middles of their bins, or values that repeat.

        returns : [ N x columns ]
        """
        return self._values(self.thresholds[:, columns])

    def _values(self, edges):
        values = (edges[:-1] + edges[1:]) / 2
        if self.repeats:
            is_repeated = np.diff(edges[:-1], axis=0, prepend=np.nan) == 0
            values[is_repeated] = edges[:-1][is_repeated]
        return values

    def _edges(self, x, subslice):
        edges = self.thresholds[:, slice(*subslice)]
        if x.shape[1] != edges.shape[1]:
            raise ValueError(f'expected values of {edges.shape[1]} columns, got {x.shape[1]}')
        return edges

    # --------------------------- distributions ---------------------------- #

    def expectation(self, probs, subslice: int):
        """Mean value under a distribution over bins.    probs : [ B x N ]    subslice : its column, an index"""
        return probs @ self._values_on(probs, subslice)

    def percentile(self, probs, percentile: float, subslice: int):
        """Value of the least bin whose cumulative probability exceeds `percentile`.

        probs : [ B x N ], renormalised here    percentile : 0 … 1    returns : [ B ]
        """
        cumulative = probs.cumsum(axis=-1)
        total = cumulative[..., -1:]
        reached = (cumulative > percentile * total) | (cumulative >= total)  # nothing exceeds percentile 1
        return self._values_on(probs, subslice)[(~reached).sum(axis=-1)]

    def value_expectation(self, probs):
        """Mean reward and mean value; what the stop token took is dropped, not shared out.

        probs   : [ B x 2 x N+1 ]  distributions over reward and value tokens
        returns : [ B ], [ B ]
        """
        rewards, values = self._reward_and_value(probs)
        return self.expectation(rewards, -REWARD_DIM - VALUE_DIM), self.expectation(values, -VALUE_DIM)

    def value_percentile(self, probs, percentile: float):
        """As `value_expectation`, a percentile in place of the mean."""
        rewards, values = self._reward_and_value(probs)
        return (
            self.percentile(rewards, percentile, -REWARD_DIM - VALUE_DIM),
            self.percentile(values, percentile, -VALUE_DIM),
        )

    def value_fn(self, probs, percentile):
        """Reward and value of a plan's step.    probs : [ B x 2 x N+1 ]    percentile : 'mean', or 0 … 1"""
        if percentile == 'mean':
            return self.value_expectation(probs)
        return self.value_percentile(probs, float(percentile))

    def _reward_and_value(self, probs):
        if probs.shape[1:] != (2, self.N + 1):
            raise ValueError(f'expected distributions of shape [ B x 2 x {self.N + 1} ], got {list(probs.shape)}')
        return probs[:, 0, :-1], probs[:, 1, :-1]

    def _values_on(self, probs, column):
        """[ N ]  what a column's tokens stand for, where and as precise as `probs` are."""
        if not torch.is_tensor(probs):
            return self.token_values(column)
        key = (column, probs.device, probs.dtype)
        if key not in self._on_device:
            self._on_device[key] = torch.as_tensor(self.token_values(column), dtype=probs.dtype, device=probs.device)
        return self._on_device[key]


class UniformDiscretizer(QuantileDiscretizer):
    """Bins of equal width between the least and the largest value of a column."""

    def find_edges(self, data: np.ndarray) -> np.ndarray:
        return np.linspace(data.min(axis=0), data.max(axis=0), self.N + 1)


DISCRETIZERS = {'QuantileDiscretizer': QuantileDiscretizer, 'UniformDiscretizer': UniformDiscretizer}


def make_discretizer(name: str, data: np.ndarray, N: int) -> QuantileDiscretizer:
    """A discretizer by its name.    data : [ steps x D ]"""
    if name not in DISCRETIZERS:
        raise InputError(f"unknown discretizer '{name}'; there are: {', '.join(DISCRETIZERS)}")
    return DISCRETIZERS[name](data, N)


def load_discretizer(path) -> QuantileDiscretizer:
    """The discretizer that `save` wrote."""
    check_regular(path, MAX_FILE)
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo('thresholds.npy').file_size > MAX_FILE:
                raise ValueError('it is larger than any edges are')
        with np.load(path, allow_pickle=False) as archive:
            thresholds = archive['thresholds']
        _check_edges(thresholds)
    except FileNotFoundError as error:
        raise InputError(
            f'{path} is not there, and without it tokens mean nothing.\n'
            '  Restore it from where the run was trained, or train again.'
        ) from error
    except Exception as error:  # damaged archives make the readers raise nearly anything
        raise InputError(
            f'{path} cannot be read as a discretizer: {error}\n  Copy it again, or train again.'
        ) from error
    return QuantileDiscretizer.from_thresholds(thresholds)


def _check_edges(thresholds):
    if thresholds.ndim != 2 or len(thresholds) < 2 or thresholds.dtype.kind != 'f':
        raise ValueError(
            f'its thresholds are {thresholds.dtype} of the shape {thresholds.shape}, expected numbers, [ N + 1 x D ]'
        )
    if not np.isfinite(thresholds).all() or (np.diff(thresholds, axis=0) < 0).any():
        raise ValueError('its thresholds are not finite numbers in ascending order')


def _as_batch(x) -> np.ndarray:
    x = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    return x[None] if x.ndim == 1 else x
