"""Share out the candidates of a plan among CPU threads: they depend on each other at selections alone.

G  episodes      S  shards      M  candidates kept of an episode      n  expansions      R  candidates, n·M
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from trajectory.search.sequences import CachedSequences, UncachedSequences

MIN_ROWS = 2  # of an episode in a shard; a row alone would pass for one that all rows share


class Shards:
    """The sequences of a plan in shards of equal size, up to one row, each with a thread and its own random numbers.

    Candidate r of an episode descends from kept candidate r % M; the one after the other, shards hold those kept.

    sequences : of G · M rows that have read nothing of their own yet
    n_kept    : M
    sampler   : from a slice of the M to what draws tokens for their candidates
    n_threads : at most so many shards
    """

    def __init__(
        self, sequences: UncachedSequences, n_kept: int, sampler: Callable[[slice], Callable], n_threads: int = 1
    ):
        self.n_kept = n_kept
        n_shards = max(1, min(n_threads, n_kept // MIN_ROWS)) if isinstance(sequences, CachedSequences) else 1
        ends = [n_kept * (number + 1) // n_shards for number in range(n_shards)]
        self.slices = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        self.shards = sequences.shard(self.slices) if n_shards > 1 else [sequences]
        self.draws = [sampler(rows) for rows in self.slices]
        self.threads = ThreadPoolExecutor(n_shards) if n_shards > 1 else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.threads:
            self.threads.shutdown()

    def map(self, work: Callable) -> list:
        """Do something with each shard and what draws its tokens.    returns : the results, shard by shard"""
        return list((self.threads.map if self.threads else map)(work, self.shards, self.draws))

    def tokens(self) -> Tensor:
        """[ G x R x T ]  of all candidates; M in place of R after a selection."""
        parts = [
            shard.tokens.view(shard.n_groups, -1, rows.stop - rows.start, shard.tokens.shape[1])
            for shard, rows in zip(self.shards, self.slices, strict=True)
        ]
        return torch.cat(parts, dim=2).flatten(1, 2)

    def select(self, candidates: Tensor) -> None:
        """Keep M candidates of each episode.    candidates : [ G x M ]"""
        if self.threads is None:
            self.shards[0].select(candidates)
            return
        expansion, kept = candidates // self.n_kept, candidates % self.n_kept
        starts = torch.tensor([rows.start for rows in self.slices])
        ends = torch.tensor([rows.stop for rows in self.slices])
        owner = torch.bucketize(kept, ends, right=True)
        rows = expansion * (ends - starts)[owner] + kept - starts[owner]  # within the owner
        before = list(self.shards)

        def gather(mine):
            return CachedSequences.select_from(before, owner[:, mine], rows[:, mine])

        self.shards = list(self.threads.map(torch.no_grad()(gather), self.slices))
