"""Windows of states, actions and returns-to-go, drawn at random: what a Decision Transformer learns from.

B  windows      K  steps      d, a  columns of states and actions
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajectory.datasets.episodes import Episodes

ACTION_PADDING, DONE_PADDING = -10.0, 2
EPSILON = 1e-6  # added to deviations


class Batch(NamedTuple):
    """states [ B x K x d ] normalized, actions [ B x K x a ], rewards [ B x K x 1 ], dones [ B x K ], returns_to_go
    [ B x K+1 x 1 ] scaled, timesteps [ B x K ], mask [ B x K ]; windows that are short are padded on the left."""

    states: Tensor
    actions: Tensor
    rewards: Tensor
    dones: Tensor
    returns_to_go: Tensor
    timesteps: Tensor
    mask: Tensor


class ReturnWindows:
    """Episodes of a dataset, and windows of up to K of their steps.

    scale      : that returns-to-go are divided by
    pct_traj   : share of the steps to draw from, those of the episodes of highest return
    delayed    : whether all of an episode's reward comes at its end
    max_ep_len : timesteps are capped below it
    statistics : state_mean and state_std of the episodes that a model learned from, where these are others

    state_mean, state_std : [ d ]  of all episodes, also where a share is drawn from
    kept                  : numbers of the episodes that are drawn from, by rising return
    """

    def __init__(
        self,
        episodes: Episodes,
        n_steps: int,
        scale: float = 1000.0,
        pct_traj: float = 1.0,
        *,
        delayed: bool = False,
        max_ep_len: int = 1000,
        statistics: tuple[np.ndarray, np.ndarray] | None = None,
        device='cpu',
    ):
        self.n_steps, self.scale, self.max_ep_len, self.device = n_steps, scale, max_ep_len, torch.device(device)
        rewards = episodes.rewards.astype(np.float64)
        ends = episodes.starts + episodes.lengths - 1
        if delayed:
            rewards = np.zeros_like(rewards)
            rewards[ends] = episodes.returns
        self.state_mean, self.state_std = statistics or find_statistics(episodes)
        self.kept = episodes.best_numbers(pct_traj)
        self.lengths = self._tensor(episodes.lengths)
        self.starts = self._tensor(episodes.starts)
        self.states = self._tensor((episodes.observations - self.state_mean) / self.state_std)
        self.actions = self._tensor(episodes.actions)
        self.rewards = self._tensor(rewards.astype(np.float32))[:, None]
        self.dones = self._tensor(episodes.terminals.astype(np.int64))
        self.returns_to_go = self._tensor((returns_to_go(rewards, episodes) / scale).astype(np.float32))[:, None]
        self.weights = torch.as_tensor(episodes.lengths[self.kept], dtype=torch.float64)

    def _tensor(self, array):
        return torch.as_tensor(np.ascontiguousarray(array), device=self.device)

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Windows at random: episodes by their length, with replacement, and a step of each.

        returns : [ n ] episodes, and [ n ] first steps
        """
        episodes = torch.as_tensor(self.kept)[self.weights.multinomial(n, replacement=True, generator=generator)]
        uniforms = torch.rand(n, generator=generator, dtype=torch.float64)
        starts = (uniforms * self.lengths.cpu()[episodes]).long()
        return episodes, starts

    def gather(self, episodes: Tensor, starts: Tensor) -> Batch:
        """The windows that begin at some steps.    episodes, starts : [ B ]"""
        episodes, starts = episodes.to(self.device), starts.to(self.device)
        n_left = self.lengths[episodes] - starts
        n_real = n_left.clamp(max=self.n_steps)
        offsets = torch.arange(self.n_steps + 1, device=self.device) - (self.n_steps - n_real)[:, None]  # [ B x K+1 ]
        inside = (offsets >= 0) & (offsets < n_left[:, None])
        rows = torch.where(inside, self.starts[episodes, None] + starts[:, None] + offsets, 0)
        to_go = torch.where(inside[..., None], self.returns_to_go[rows], 0)
        rows, inside, offsets = rows[:, :-1], inside[:, :-1], offsets[:, :-1]
        times = (starts[:, None] + offsets).clamp(max=self.max_ep_len - 1)
        return Batch(
            torch.where(inside[..., None], self.states[rows], 0),
            torch.where(inside[..., None], self.actions[rows], ACTION_PADDING),
            torch.where(inside[..., None], self.rewards[rows], 0),
            torch.where(inside, self.dones[rows], DONE_PADDING),
            to_go,
            torch.where(inside, times, 0),
            inside.float(),
        )


def returns_to_go(rewards: np.ndarray, episodes: Episodes) -> np.ndarray:
    """[ steps ]  the undiscounted sum of the rewards from each step to its episode's end."""
    total = np.cumsum(rewards)
    last = np.repeat(total[episodes.starts + episodes.lengths - 1], episodes.lengths)
    return last - total + rewards


def find_statistics(episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """[ d ] and [ d ]  mean and deviation of the observations, computed in double precision."""
    observations = episodes.observations.astype(np.float64)
    return observations.mean(axis=0).astype(np.float32), (observations.std(axis=0) + EPSILON).astype(np.float32)
