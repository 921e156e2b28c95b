"""Hold the token sequences of a search while they grow, and know the model's next prediction for each.

Two kinds that give the same logits: `CachedSequences` reads every token once; `UncachedSequences` reads the whole
window again for every token, as the reference does, and is what tests and benchmarks compare with.

    G  episodes      R  candidates of an episode      V  tokens to choose from
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from trajectory.models.decoding import Decoder, KVCache


def round_to_multiple(x: int, N: int) -> int:
    """The least multiple of N that is at least x."""
    return -(-x // N) * N


def crop_length(n_tokens: int, limit: int | None, increment: int) -> int:
    """How many tokens to leave out at the front, whole transitions at a time, for the rest to fit `limit`."""
    return 0 if limit is None or n_tokens <= limit else round_to_multiple(n_tokens - limit, increment)


def forward(
    model, x: Tensor, max_block: int | None = None, allow_crop: bool = True, crop_increment: int | None = None, **kwargs
) -> Tensor:
    """Logits of a sequence, cropped at the front to what the model, and the caller, let it see.

    x              : [ B x T ]
    max_block      : tokens it may see, if fewer than the model's block
    crop_increment : tokens in a transition; the crop is a multiple, so the first token stays a first column
    returns        : [ B x T' x V ], T' after the crop
    """
    model.eval()
    limit = min(model.get_block_size(), max_block or model.get_block_size())
    n_crop = crop_length(x.shape[1], limit, crop_increment or model.transition_dim)
    if n_crop and not allow_crop:
        raise ValueError(f'{x.shape[1]} tokens do not fit the {limit} that the model may see')
    return model(x[:, n_crop:], **kwargs)[0]


class UncachedSequences:
    """Rows of tokens, [ G·R x T ], an episode's rows together.

    tokens       : [ G·R x T ]
    n_groups     : G
    limit        : tokens the model may see; longer rows are cropped at the front, transition by transition,
                   which renumbers positions from 0
    goal         : [ G x observation_dim ] tokens, for a `ConditionalGPT`
    """

    def __init__(self, model, tokens: Tensor, n_groups: int, limit: int, goal: Tensor | None = None):
        self.model = model
        self.tokens = tokens
        self.n_groups = n_groups
        self.limit = limit
        self.goal = goal

    @property
    def n_crop(self) -> int:
        """Tokens left out at the front the next time the model reads."""
        return crop_length(self.tokens.shape[1], self.limit, self.model.transition_dim)

    def logits(self) -> Tensor:
        """[ G·R x V ]  for the next token of each row."""
        goal = (
            {} if self.goal is None else {'goal': self.goal.repeat_interleave(len(self.tokens) // self.n_groups, dim=0)}
        )
        return forward(self.model, self.tokens, max_block=self.limit, **goal)[:, -1]

    def append(self, tokens: Tensor) -> None:
        """Lengthen every row.    tokens : [ G·R x 1 ]"""
        self.tokens = torch.cat([self.tokens, tokens], dim=1)

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order; one may be kept more than once.

        rows : [ G x R' ]  indices within each group
        """
        self.tokens = self.tokens[self._flat(rows)]

    def repeat(self, n: int) -> None:
        """Have every row n times, a whole group each time."""
        self.tokens = _repeat(self.tokens, self.n_groups, n)

    def _flat(self, rows):
        n_rows = len(self.tokens) // self.n_groups
        return (rows + n_rows * torch.arange(self.n_groups, device=rows.device)[:, None]).flatten()


class CachedSequences(UncachedSequences):
    """The same, every token read once: a cache grows with the rows, until a crop renumbers their positions.

    n_shared : leading tokens that are the same in all rows of a group
    """

    def __init__(self, model, tokens, n_groups, limit, goal=None, *, n_shared: int):
        super().__init__(model, tokens, n_groups, limit, goal)
        self.decoder = Decoder(model, goal)
        self.n_shared = n_shared
        self.cropped = 0  # tokens before the window that the cache holds
        self.cache = None
        self.latest = None  # logits, while they are up to date

    def logits(self):
        if self.latest is None and self._is_stale():
            self._read_window()
        elif self.latest is None:
            for place in range(self.cropped + self.cache.n_read, self.tokens.shape[1]):
                self.latest, self.cache = self.decoder.step(self.tokens[:, place : place + 1], self.cache)
        return self.latest

    def append(self, tokens: Tensor) -> None:
        super().append(tokens)
        self.latest = None

    def select(self, rows: Tensor) -> None:
        flat = self._flat(rows)
        self.tokens = self.tokens[flat]
        self.cache = None if self._is_stale() else self.cache.select(flat)
        if self.latest is not None:
            self.latest = self.latest[flat]

    def repeat(self, n: int) -> None:
        self.latest = _repeat(self.logits(), self.n_groups, n)  # read while the rows are few
        self.cache = self.cache.repeat(n)
        super().repeat(n)

    def shard(self, slices: Sequence[slice]) -> list['CachedSequences']:
        """The same rows in shards, which threads may go on with side by side.

        slices  : of the rows of each group, which must have read nothing of their own yet
        returns : a shard for each slice
        """

        def cut(x, rows):
            return x.unflatten(0, (self.n_groups, -1))[:, rows].flatten(0, 1)

        shards: list[CachedSequences] = [copy(self) for _ in slices]
        for shard, rows in zip(shards, slices, strict=True):
            shard.tokens, shard.latest = cut(self.tokens, rows), cut(self.latest, rows)
            shard.cache = replace(self.cache, n_rows=len(shard.tokens))
        return shards

    @staticmethod
    def select_from(shards: Sequence['CachedSequences'], owner: Tensor, rows: Tensor) -> 'CachedSequences':
        """Rows of several shards, in this order, after a token that the model has yet to read.

        owner : [ G x R' ]  index of the shard that each row is in
        rows  : [ G x R' ]  indices within each group of that shard
        """
        flat = torch.stack([shard._flat(rows) for shard in shards])  # [ S x G·R' ], right where the shard is the owner
        owner = owner.flatten()
        flat = flat.gather(0, owner[None])[0]
        chosen = copy(shards[0])
        chosen.tokens = flat.new_empty(len(flat), shards[0].tokens.shape[1])
        for number, shard in enumerate(shards):
            chosen.tokens[owner == number] = shard.tokens[flat[owner == number]]
        is_stale = chosen.n_crop != chosen.cropped
        chosen.cache = None if is_stale else KVCache.select_from([shard.cache for shard in shards], owner, flat)
        return chosen

    def _is_stale(self):
        return self.cache is None or self.n_crop != self.cropped

    def _read_window(self):
        self.cropped = self.n_crop
        n_shared = max(self.n_shared - self.cropped, 0)
        window = self.tokens[:, self.cropped :]
        first_rows = window[:: len(window) // self.n_groups]
        self.latest, self.cache = self.decoder.prefill(first_rows[:, :n_shared], window[:, n_shared:])


def _repeat(x, n_groups, n):
    """[ G·n·R x … ]  every group n times over."""
    return x.unflatten(0, (n_groups, 1, -1)).expand(-1, n, *(-1,) * x.ndim).flatten(0, 2)
