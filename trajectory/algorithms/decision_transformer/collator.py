"""The collator of Hugging Face's blog recipe, over episodes of any of our sources: for `transformers.Trainer`."""

from dataclasses import dataclass, field

import numpy as np
import torch

from trajectory.datasets.episodes import Episodes
from trajectory.datasets.return_windows import ACTION_PADDING, EPSILON, returns_to_go
from trajectory.datasets.source import DataSource


@dataclass
class DecisionTransformerCollator:
    """Draws as many windows as it is given rows; the rows themselves are ignored, as in the recipe.

    episodes  : of `Episodes.read(find_source(name), keep_unfinished=False)`
    generator : of the draws; the recipe's takes the global ones

    states, actions, rewards [ B x K x … ], returns_to_go [ B x K x 1 ], timesteps, attention_mask [ B x K ]
    """

    episodes: Episodes
    return_tensors: str = 'pt'
    max_len: int = 20
    max_ep_len: int = 1000
    scale: float = 1000.0
    generator: np.random.Generator = field(default_factory=np.random.default_rng)
    state_dim: int = field(init=False)
    act_dim: int = field(init=False)
    n_traj: int = field(init=False)
    state_mean: np.ndarray = field(init=False)
    state_std: np.ndarray = field(init=False)
    p_sample: np.ndarray = field(init=False)

    def __post_init__(self):
        observations = self.episodes.observations.astype(np.float64)
        self.state_dim, self.act_dim = observations.shape[1], self.episodes.actions.shape[1]
        self.n_traj = len(self.episodes)
        self.state_mean, self.state_std = observations.mean(axis=0), observations.std(axis=0) + EPSILON
        self.p_sample = self.episodes.lengths / self.episodes.n_steps
        self._to_go = returns_to_go(self.episodes.rewards.astype(np.float64), self.episodes) / self.scale

    @classmethod
    def of_source(cls, source: DataSource, **settings) -> 'DecisionTransformerCollator':
        """The collator of a dataset."""
        return cls(Episodes.read(source, keep_unfinished=False), **settings)

    def __call__(self, rows) -> dict[str, torch.Tensor]:
        numbers = self.generator.choice(self.n_traj, size=len(rows), replace=True, p=self.p_sample)
        starts = [int(self.generator.integers(self.episodes.lengths[k])) for k in numbers]
        return self.gather(numbers, starts)

    def gather(self, numbers, starts) -> dict[str, torch.Tensor]:
        """The windows of some episodes from some of their steps on; short ones are padded on the left."""
        windows = [self._window(int(number), int(start)) for number, start in zip(numbers, starts, strict=True)]
        return {name: torch.as_tensor(np.stack([window[name] for window in windows])) for name in windows[0]}

    def _window(self, number, start):
        episodes, k = self.episodes, self.max_len
        n = min(k, episodes.lengths[number] - start)
        rows = slice(episodes.starts[number] + start, episodes.starts[number] + start + n)

        def padded(values, padding=0.0, dtype=np.float32):
            whole = np.full((k, *values.shape[1:]), padding, dtype=dtype)
            whole[k - n :] = values
            return whole

        states = padded(episodes.observations[rows], dtype=np.float64)
        return {
            'states': ((states - self.state_mean) / self.state_std).astype(np.float32),  # padding is normalized too
            'actions': padded(episodes.actions[rows], ACTION_PADDING),
            'rewards': padded(episodes.rewards[rows, None]),
            'returns_to_go': padded(self._to_go[rows, None]),
            'timesteps': padded(np.minimum(start + np.arange(n), self.max_ep_len - 1), 0, np.int64),
            'attention_mask': padded(np.ones(n)),
        }
