"""Episodes of an on-policy batch, padded to the longest: observations, actions and rewards with a mask."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class BatchEpisodes:
    """B episodes of up to T steps, of one task, or of M tasks if a dimension [ M ] leads.

    observations : [ T x B x o ]  what was seen before each action
    actions      : [ T x B x a ], or [ T x B ] whole numbers
    rewards      : [ T x B ]
    lengths      : [ B ]  steps of each episode; what lies beyond is 0
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """Which steps were taken, [ T x B ], 1 or 0 in the dtype of the rewards."""
        steps = torch.arange(self.rewards.shape[-2], device=self.lengths.device)
        return (steps[:, None] < self.lengths[..., None, :]).to(self.rewards)

    def returns(self, gamma: float) -> Tensor:
        """Discounted sums of the rewards from each step on, R_t = r_t + γ R_{t+1}.    returns : [ T x B ]"""
        return discount(self.rewards * self.mask, gamma)

    def task(self, m: int) -> 'BatchEpisodes':
        """The episodes of one of M tasks."""
        return BatchEpisodes(*(getattr(self, field.name)[m] for field in fields(self)))

    def cut(self, rows: slice, n_steps: int) -> 'BatchEpisodes':
        """Some of M tasks, without the steps past the first so many."""
        parts = (self.observations, self.actions, self.rewards)
        return BatchEpisodes(*(part[rows, :n_steps] for part in parts), self.lengths[rows])

    def to(self, device=None, dtype=None) -> 'BatchEpisodes':
        """The episodes on a device, and their real numbers in a dtype."""
        parts = (getattr(self, field.name) for field in fields(self))
        return BatchEpisodes(*(part.to(device, dtype if part.is_floating_point() else part.dtype) for part in parts))


def total_rewards(episodes: BatchEpisodes) -> np.ndarray:
    """Mean over the episodes of the undiscounted sum of rewards, of each task.    returns : [ M ], or [ ]"""
    return (episodes.rewards * episodes.mask).sum(-2).double().mean(-1).cpu().numpy()


def discount(values: Tensor, factor: float) -> Tensor:
    """Sums Σ_k factor^k v_{t+k} over the steps to come.    values : [ ... x T x B ]"""
    sums = torch.zeros_like(values)
    running = torch.zeros_like(values[..., 0, :])
    for t in range(values.shape[-2] - 1, -1, -1):
        running = values[..., t, :] + factor * running
        sums[..., t, :] = running
    return sums
