"""Execute the candidates of a search from the same simulator state: does their predicted order hold?"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from trajectory.rendering.renderers import set_state
from trajectory.rollouts.agent import Agent
from trajectory.search.calibration import Windows
from trajectory.search.core import search
from trajectory.search.q_values import rank
from trajectory.search.settings import SearchSettings


@dataclass(frozen=True)
class Ranking:
    """Candidates of one horizon, executed from the same simulator state: [ states x candidates ].

    predicted : discounted rewards and value of each, as a beam ranks them
    realized  : discounted rewards of its actions, and of the agent's after them
    """

    horizon: int
    predicted: np.ndarray
    realized: np.ndarray

    @property
    def correlations(self) -> np.ndarray:
        """Rank correlation of each state whose candidates differ (Spearman)."""
        pairs = [
            (_ranks(p), _ranks(r))
            for p, r in zip(self.predicted, self.realized, strict=True)
            if np.ptp(p) > 0 and np.ptp(r) > 0
        ]
        return np.array([np.corrcoef(*pair)[0, 1] for pair in pairs])

    def gains(self, n: int) -> np.ndarray:
        """What the candidate of highest prediction of the first n realized above their mean, of each state."""
        chosen = self.predicted[:, :n].argmax(axis=1)
        return np.take_along_axis(self.realized, chosen[:, None], 1)[:, 0] - self.realized[:, :n].mean(axis=1)

    @property
    def regrets(self) -> np.ndarray:
        """What the best candidate realized above that of highest prediction, of each state."""
        return self.gains_of_best - self.gains(self.predicted.shape[1])

    @property
    def gains_of_best(self) -> np.ndarray:
        """What the best candidate realized above their mean, of each state."""
        return self.realized.max(axis=1) - self.realized.mean(axis=1)


def rank_candidates(
    model, discretizer, spec, windows: Windows, settings: SearchSettings, n_candidates: int, agent: Agent, follow: int,
    seed: int = 0, value_fn: Callable | None = None,
) -> Ranking:  # fmt: skip
    """Imagine candidates from some states, execute each in the simulator, and let an agent act after it.

    model, discretizer : of one run
    spec               : of the environment
    windows            : whose last observations are where candidates begin, and what is before them the model's
                         context; the simulator must know how to be put there
    settings           : horizon, discount and sampling of the candidates, each of which is one sample
    follow             : steps of the agent after the candidate's own
    value_fn           : what ranks them, see `search`; by default the values that the model predicts
    """
    value_fn = value_fn or (lambda probs: discretizer.value_fn(probs, settings.percentile))
    envs = [spec.make() for _ in range(n_candidates)]
    layout, n_states = model.layout, len(windows.raw)
    prefixes = windows.tokens.flatten(1)[:, : layout.observation_dim - layout.dim]
    predicted, realized = (np.zeros((n_states, n_candidates)) for _ in range(2))
    for s in range(n_states):
        generators = [torch.Generator().manual_seed(seed + 10_000 * s + k) for k in range(n_candidates)]
        plans, predicted[s] = _imagine(model, discretizer, [prefixes[s]] * n_candidates, settings, generators, value_fn)
        realized[s] = _execute(
            envs,
            windows.raw[s, -1, layout.observation],
            plans[:, :, layout.action],
            agent,
            settings.discount,
            follow,
        )
    for env in envs:
        env.close()
    return Ranking(settings.horizon, predicted, realized)


class _Remembering:
    """A value function, and what it has said."""

    sees_candidates = True

    def __init__(self, value_fn):
        self.value_fn, self.said = value_fn, []

    def __call__(self, probs, tokens):
        self.said.append(rank(self.value_fn, probs, tokens))
        return self.said[-1]


def _imagine(model, discretizer, prefixes, settings, generators, value_fn):
    """A sample from each prefix, and what a beam ranks it by.    returns : [ C x H x D ] numbers, and [ C ]"""
    remembering = _Remembering(value_fn)
    plans = search(model, remembering, prefixes, settings, generator=generators)
    parts = [reward for reward, _ in remembering.said] + [remembering.said[-1][1]]
    total = sum(settings.discount**t * part for t, part in enumerate(parts))
    return np.stack([discretizer.reconstruct(plan) for plan in plans]), total.cpu().numpy()


def _execute(envs, observation, actions, agent, discount, follow):
    """Discounted rewards of each candidate's actions and of the agent's after them.    actions : [ C x H x a ]"""
    horizon = actions.shape[1]
    totals, over = np.zeros(len(envs)), np.zeros(len(envs), dtype=bool)
    seen = []
    for env in envs:
        env.reset(seed=0)
        set_state(env, observation)
        seen.append(env.observe())
    for t in range(horizon + follow):
        if t == horizon:
            agent.reset(seen, list(range(len(envs))))
        taken = actions[:, t] if t < horizon else agent.act(seen)
        rewards = np.zeros(len(envs))
        for k in np.flatnonzero(~over):
            seen[k], rewards[k], over[k], _, _ = envs[k].step(taken[k])
        totals += discount**t * rewards
        if over.all():
            break
        if t >= horizon:
            agent.observe(taken, rewards, seen, over)
    return totals


def _ranks(values):
    order = np.sort(values)
    return (np.searchsorted(order, values, 'left') + np.searchsorted(order, values, 'right') - 1) / 2
