"""Batches in a random order, epoch by epoch, from which a resumed run goes on."""

import torch
from torch import Tensor


class ShuffledBatches:
    """Indices of n items in batches; each epoch has an order of its own.

    `next_batch` returns [ B ] indices; the last batch of an epoch may be smaller.
    """

    def __init__(self, n: int, batch_size: int, seed: int):
        self.n, self.batch_size = n, batch_size
        self.generator = torch.Generator().manual_seed(seed)
        self._before_order = self.generator.get_state()
        self._order, self._place = self._shuffle(), 0

    @property
    def per_epoch(self) -> int:
        return -(-self.n // self.batch_size)

    def _shuffle(self):
        self._before_order = self.generator.get_state()
        return torch.randperm(self.n, generator=self.generator)

    def next_batch(self) -> Tensor:
        if self._place >= self.n:
            self._order, self._place = self._shuffle(), 0
        batch = self._order[self._place : self._place + self.batch_size]
        self._place += self.batch_size
        return batch

    def state_dict(self) -> dict:
        return {'before_order': self._before_order, 'place': self._place}

    def load_state_dict(self, state: dict) -> None:
        self.generator.set_state(state['before_order'])
        self._order, self._place = self._shuffle(), state['place']
