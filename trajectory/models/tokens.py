"""Actions as tokens: evenly spaced bins over [low, high], or mu-law bins, which are finer around 0."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

KINDS = ('minmax', 'minmax2', 'mulaw')


@dataclass(frozen=True)
class ActionTokens:
    """Numbers to bins and back.

    kind      : `minmax`, trunc((x - low) / (high - low) · bins); `minmax2`, with bins - 1; `mulaw` of x in [-1, 1],
                with μ = bins - 1
    shift     : added to each token, where the vocabulary begins with discrete actions
    midpoints : read a bin of `minmax` as its middle; else as its left edge, as the original does, half a bin too low
    """

    bins: int = 64
    kind: str = 'minmax'
    low: float = -1.0
    high: float = 1.0
    shift: int = 0
    midpoints: bool = True

    def encode(self, x: Tensor) -> Tensor:
        """Numbers as tokens."""
        if self.kind == 'mulaw':
            x = x.clamp(-1, 1)
            squeezed = x.sign() * torch.log1p(self._mu * x.abs()) / math.log1p(self._mu)
            tokens = torch.floor((squeezed + 1) / 2 * self._mu + 0.5)
        else:
            n = self.bins - (self.kind == 'minmax2')
            tokens = torch.trunc((x - self.low) / (self.high - self.low) * n)
        return tokens.long().clamp(0, self.bins - 1) + self.shift

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens as numbers."""
        tokens = (tokens - self.shift).to(torch.get_default_dtype())
        if self.kind == 'mulaw':
            squeezed = 2 * tokens / self._mu - 1
            return squeezed.sign() * torch.expm1(squeezed.abs() * math.log1p(self._mu)) / self._mu
        offset = 0.5 if self.midpoints and self.kind == 'minmax' else 0.0
        n = self.bins - (self.kind == 'minmax2')
        return self.low + (tokens + offset) / n * (self.high - self.low)

    @property
    def _mu(self):
        return self.bins - 1
