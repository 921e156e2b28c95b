"""A stochastic policy as an agent: it draws each action, by a generator of the episode's own."""

import numpy as np
import torch

from trajectory.models.policies import Params, Policy, sample_actions
from trajectory.rollouts.agent import Agent


class SamplingAgent(Agent):
    """Draws actions from a policy.

    params : of each of E environments, [ E x ... ] by name, where they adapted to different tasks
    """

    def __init__(self, policy: Policy, params: Params | None = None):
        self.policy, self.params = policy, params

    def reset(self, observations, seeds, goals=None):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    @torch.no_grad()
    def act(self, observations):
        like = next(self.policy.parameters())
        seen = torch.as_tensor(np.asarray(observations)).to(like)
        if self.params is None:
            rows = [self.policy(row) for row in seen]
        else:
            rows = [
                self.policy(row, {name: value[k] for name, value in self.params.items()}) for k, row in enumerate(seen)
            ]
        return np.stack(
            [sample_actions(row, one).cpu().numpy() for row, one in zip(rows, self.generators, strict=True)]
        )
