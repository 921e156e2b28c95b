"""Recorded episodes as numbers, end to end: what methods learn from that need no tokens."""

import zlib

import numpy as np

from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.datasets.sequence import check_widths, find_path_lengths
from trajectory.datasets.source import DataSource
from trajectory.utils.errors import InputError
from trajectory.utils.layout import TransitionLayout


class Episodes:
    """Steps of episodes, end to end.

    observations : [ steps x d ] float32      actions : [ steps x a ] float32      rewards : [ steps ] float32
    terminals    : [ steps ]  true where the environment ended the episode, and not its step limit
    lengths, starts, returns : [ episodes ]
    """

    def __init__(self, observations, actions, rewards, terminals, lengths):
        self.observations, self.actions, self.rewards = observations, actions, rewards
        self.terminals, self.lengths = terminals, np.asarray(lengths)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.returns = np.add.reduceat(rewards.astype(np.float64), self.starts)

    @classmethod
    def read(cls, source: DataSource, *, keep_unfinished: bool = True) -> 'Episodes':
        """All episodes of a dataset.    keep_unfinished : also a last one that the end of the data cut off"""
        columns = source.get_dataset()
        preprocess_fn = get_preprocess_fn(source.id)
        observations = preprocess_fn(columns['observations'])
        if not len(observations):
            raise InputError(f'{source.name} holds no steps.\n  Record some: python scripts/collect.py --help')
        check_widths(source, preprocess_fn, TransitionLayout(observations.shape[1], columns['actions'].shape[1]))
        ends = columns['terminals'] | columns['timeouts']
        episodes = cls(
            observations, columns['actions'], columns['rewards'], columns['terminals'], find_path_lengths(ends)
        )
        if keep_unfinished or ends[-1] or len(episodes) == 1:
            return episodes
        return episodes.take(np.arange(len(episodes) - 1))

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_steps(self) -> int:
        return len(self.rewards)

    def take(self, episodes: np.ndarray) -> 'Episodes':
        """Some of the episodes, by their numbers."""
        rows = np.concatenate([np.arange(self.starts[k], self.starts[k] + self.lengths[k]) for k in episodes])
        return Episodes(
            self.observations[rows],
            self.actions[rows],
            self.rewards[rows],
            self.terminals[rows],
            self.lengths[episodes],
        )

    def split(self, share: float, seed: int) -> tuple['Episodes', 'Episodes | None']:
        """Episodes to learn from, and others held out, at least one of them unless the share is 0."""
        if not share:
            return self, None
        if len(self) < 2:
            raise InputError(
                'a single episode cannot be shared between learning and holding out.\n  Leave out --held_out.'
            )
        order = np.random.default_rng(seed).permutation(len(self))
        n_held_out = min(len(self) - 1, max(1, round(share * len(self))))
        return self.take(np.sort(order[n_held_out:])), self.take(np.sort(order[:n_held_out]))

    def best_numbers(self, share: float) -> np.ndarray:
        """The episodes of highest return that together have at most a share of the steps, at least one.

        returns : their numbers, by rising return
        """
        order = np.argsort(self.returns, kind='stable')
        n_steps = np.cumsum(self.lengths[order[::-1]])
        n_kept = 1 + int((n_steps[1:] <= max(int(share * self.n_steps), 1)).cumprod().sum())
        return order[len(order) - n_kept :]

    def best(self, share: float) -> 'Episodes':
        """Those episodes, in the order of the data."""
        return self if share >= 1 else self.take(np.sort(self.best_numbers(share)))

    def transitions(self, rewards: np.ndarray, discount: float, n_steps: int = 1) -> tuple[np.ndarray, ...]:
        """Steps, with what was earned in the n that begin with each, and what was observed after those.

        An episode's last step is left out where a step limit ended it, as what follows is not known.

        rewards : [ steps ]  to count, in place of the recorded ones
        n_steps : n, fewer at the end of an episode
        returns : [ m x d ] observations, [ m x a ] actions, [ m ] discounted sums of rewards, [ m x d ] observations
                  after them, and [ m ] the discount of what is after them, 0 where a terminal step was among them
        """
        last = np.repeat(self.starts + self.lengths - 1, self.lengths)
        sums, discounts = np.zeros(self.n_steps), np.ones(self.n_steps)
        place = np.arange(self.n_steps)
        for _ in range(n_steps):
            is_known = (place < last) | self.terminals[np.minimum(place, last)]
            counts = is_known & (discounts > 0)
            now = np.minimum(place, last)
            sums += np.where(counts, discounts * rewards[now], 0)
            discounts = np.where(counts, np.where(self.terminals[now], 0, discount * discounts), discounts)
            place = np.where(counts & ~self.terminals[now], place + 1, place)
        rows = np.flatnonzero((place > np.arange(self.n_steps)) | (discounts == 0))
        following = self.observations[np.minimum(place, last)[rows]]
        return self.observations[rows], self.actions[rows], sums[rows], following, discounts[rows]

    def fingerprint(self) -> str:
        """Checksum of the data."""
        checksum = 0
        for column in (self.observations, self.actions, self.rewards, self.lengths):
            checksum = zlib.crc32(np.ascontiguousarray(column), checksum)
        return f'{len(self):,} episodes with checksum {checksum:08x}'
