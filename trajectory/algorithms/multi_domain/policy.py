"""What acts and is trained: a base model, what modulates it, and how actions and states are written."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from trajectory.models.modulators import Modulator
from trajectory.models.multi_domain import MultiDomainTransformer
from trajectory.models.pool import ModulationPool
from trajectory.models.tokens import ActionTokens


@dataclass
class Policy:
    """A multi-domain Decision Transformer, with or without modulators.

    statistics   : mean and deviation of states, [ S ] each
    context      : steps that it sees
    pool         : of modulators, or None
    lone         : one modulator, or None
    hides_actions : whether actions are seen within their own step alone
    """

    model: MultiDomainTransformer
    tokens: ActionTokens
    statistics: tuple[Tensor, Tensor]
    context: int
    pool: ModulationPool | None = None
    lone: Modulator | None = None
    hides_actions: bool = False
    is_on: bool = field(default=True)  # whether modulators modulate

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def modulator(self) -> Modulator | None:
        if not self.is_on:
            return None
        return self.pool.modulator if self.pool is not None else self.lone

    @property
    def added(self) -> nn.ModuleDict:
        """What was added to the base."""
        parts = {'pool': self.pool, 'modulator': self.lone}
        return nn.ModuleDict({name: part for name, part in parts.items() if part is not None})

    def choose(self, queries: Tensor, numbers=None) -> Tensor | None:
        """The modulator of each sequence when acting, [ B ], None where there is no pool.

        queries : [ B x d ]    numbers : of the tasks, for a pool that is told them
        """
        if self.pool is None or not self.is_on:
            return None
        self.pool.eval()
        if not self.pool.n_tasks or numbers is None:
            return self.pool.evaluate(queries)
        ids = torch.empty(len(queries), dtype=torch.long, device=queries.device)
        for number in set(numbers):
            rows = torch.tensor([own == number for own in numbers], device=queries.device)
            ids[rows] = self.pool.evaluate(queries[rows], number)
        return ids

    def hidden_past(self, n_sequences: int, n_tokens: int) -> Tensor | None:
        """What is hidden of the first so many tokens, [ B x T x T ], see `Encoder`."""
        if not self.hides_actions or self.context == 1:
            return None
        mask = self.model.is_past_action(self.context)[:n_tokens, :n_tokens].to(self.device)
        return mask.expand(n_sequences, -1, -1)

    def normalize(self, observations: np.ndarray) -> Tensor:
        """Observations in the model's slots, normalized.    observations : [ E x o ]    returns : [ E x S ]"""
        slots = torch.zeros(len(observations), self.model.state_dim)
        slots[:, : observations.shape[1]] = torch.as_tensor(observations)[:, : self.model.state_dim]
        mean, std = self.statistics
        return ((slots - mean) / std).to(self.device)
