"""Linear baseline of returns, and generalized advantage estimation (Duan et al. 2016; Schulman et al. 2016)."""

import torch
from torch import Tensor

from trajectory.rollouts.batch_episodes import BatchEpisodes, discount

TRIES = 5  # of the ridge, each ten times the last
TIME_SCALE = 100  # steps that count as 1 in the features of time


class LinearFeatureBaseline:
    """Values V = φw by ridge regression of the returns on φ_t = [o, o², k, k², k³, 1] with k = t / 100, t = 1, 2, …

    Each task has weights of its own. All is in 64 bits: the normal equations are ill-conditioned.

    input_size : numbers of an observation
    reg_coeff  : of the ridge
    weights    : [ F ], or [ M x F ] for M tasks, once fitted; F = 2 · input_size + 4
    """

    def __init__(self, input_size: int, reg_coeff: float = 1e-5):
        self.input_size, self.reg_coeff = input_size, reg_coeff
        self.weights: Tensor | None = None

    @property
    def feature_size(self) -> int:
        return 2 * self.input_size + 4

    def features(self, episodes: BatchEpisodes) -> Tensor:
        """φ of each step, 0 beyond the end.    returns : [ T x B x F ], or [ M x T x B x F ]"""
        seen, mask = episodes.observations.double(), episodes.mask.double()[..., None]
        time = torch.arange(1, seen.shape[-3] + 1, dtype=seen.dtype, device=seen.device) / TIME_SCALE
        time = time[:, None, None].expand(*seen.shape[:-1], 1)
        parts = [seen, seen**2, time, time**2, time**3, torch.ones_like(time)]
        return torch.cat(parts, dim=-1) * mask

    def fit(self, episodes: BatchEpisodes, gamma: float) -> None:
        """Set w = (ΦᵀΦ + reg I)⁻¹ ΦᵀR over all steps of a task."""
        features = self.features(episodes).flatten(-3, -2)  # [ ... x T·B x F ]
        returns = episodes.returns(gamma).double().flatten(-2)
        transposed = features.transpose(-2, -1)
        normal, moments = transposed @ features, (transposed @ returns[..., None])
        identity = torch.eye(self.feature_size, dtype=features.dtype, device=features.device)
        reg = torch.full((*normal.shape[:-2], 1, 1), self.reg_coeff, dtype=features.dtype, device=features.device)
        for _ in range(TRIES):
            weights, info = torch.linalg.solve_ex(normal + reg * identity, moments)
            failed = (info != 0) | ~weights.isfinite().all(-1).all(-1)
            if not failed.any():
                break
            reg = torch.where(failed[..., None, None], 10 * reg, reg)
        self.weights = weights.squeeze(-1)

    def values(self, episodes: BatchEpisodes) -> Tensor:
        """V of each step, [ T x B ] or [ M x T x B ]; 0 beyond the end."""
        assert self.weights is not None, 'fit the baseline first'
        return torch.einsum('...tbf,...f->...tb', self.features(episodes), self.weights)

    def advantages(self, episodes: BatchEpisodes, gamma: float, tau: float) -> Tensor:
        """Generalized advantages, A_t = Σ_k (γτ)^k δ_{t+k} with δ_t = r_t + γ V_{t+1} - V_t.

        V is 0 after the last step, at time limits too.    returns : [ T x B ], or [ M x T x B ]
        """
        values, mask = self.values(episodes), episodes.mask.double()
        after = torch.cat([values[..., 1:, :], torch.zeros_like(values[..., :1, :])], dim=-2)
        return discount(episodes.rewards.double() * mask + gamma * after - values, gamma * tau)


def normalize(advantages: Tensor, mask: Tensor) -> Tensor:
    """(A - mean) / (std + 1e-8), mean and deviation over the steps that a task took.    both : [ ... x T x B ]"""
    mean = masked_mean(advantages, mask)[..., None, None]
    std = masked_mean((advantages - mean) ** 2, mask)[..., None, None].sqrt()
    return (advantages * mask - mean) / (std + 1e-8)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps taken.    values, mask : [ ... x T x B ]    returns : [ ... ]"""
    return (values * mask).sum((-2, -1)) / mask.sum((-2, -1))
