"""Rank candidates by a Q-function, in place of the returns to go that a model predicts (Janner et al. 2021, 4.3)."""

from collections.abc import Callable

import torch
from torch import Tensor

from trajectory.utils.errors import InputError


def rank(value_fn: Callable, probs: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Ask a value function about candidates.

    value_fn : as `search` takes it    probs : [ B x 2 x N+1 ]    tokens : [ B x T ]    returns : [ B ], [ B ]
    """
    return value_fn(probs, *([tokens] if getattr(value_fn, 'sees_candidates', False) else []))


class QRanking:
    """Values candidates by their rewards so far and the discounted Q of their last observation and action.

    q                          : from observations [ B x d ] and actions [ B x a ] to [ 2 x B ], whose lower one counts
    discretizer, layout        : of the model; says what the tokens of observations and actions stand for
    discount, percentile       : of the search, see `SearchSettings`
    reward_scale, reward_shift : what was done to the rewards that Q learned from; so are the predicted ones
    """

    sees_candidates = True

    def __init__(
        self, q: Callable[[Tensor, Tensor], Tensor], discretizer, layout, *, discount: float,
        percentile: float | str = 'mean', reward_scale: float = 1.0, reward_shift: float = 0.0,
    ):  # fmt: skip
        if not discount:
            raise InputError('with a discount of 0 no candidate is ranked by its Q.\n  Pass --discount 0.99, say.')
        self.q, self.discretizer, self.layout = q, discretizer, layout
        self.discount, self.percentile = discount, percentile
        self.reward_scale, self.reward_shift = reward_scale, reward_shift
        self.token_values = torch.as_tensor(discretizer.token_values(), dtype=torch.float32)  # [ N x D ]

    def __call__(self, probs: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Reward and value of each candidate's last transition.

        probs   : [ B x 2 x N+1 ]  distributions over its reward and value tokens
        tokens  : [ B x T ]  the candidates
        returns : [ B ], [ B ], such that the reward and the discounted value are Q, which counts that reward already
        """
        dim = self.layout.dim
        last = tokens[:, -dim:].clamp(max=self.discretizer.N - 1)  # a stop token reads as the last bin
        numbers = self.token_values.to(tokens.device)[last, torch.arange(dim, device=tokens.device)]
        q = self.q(numbers[:, self.layout.observation], numbers[:, self.layout.action]).amin(dim=0)
        reward = self.reward_scale * self.discretizer.value_fn(probs, self.percentile)[0] + self.reward_shift
        return reward, (q - reward) / self.discount
