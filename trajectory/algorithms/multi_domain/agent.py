"""A multi-domain Decision Transformer as an agent: each column of an action in turn, by the greatest logit."""

import numpy as np
import torch
from torch import Tensor

from trajectory.environments.suites.registry import SuiteTask
from trajectory.models.multi_domain import Sequences
from trajectory.rollouts.agent import Agent


class MultiDomainAgent(Agent):
    """Acts in E environments, of one task each.

    policy  : model, modulator or pool, tokens, statistics, context; see `Policy`
    tasks   : of each environment
    targets : return that is asked for in each, scaled
    scales  : that its rewards are divided by
    numbers : of each environment's task in a sequence of tasks, for a pool that is told them
    """

    def __init__(self, policy, tasks: list[SuiteTask], targets, scales, numbers=None):
        self.policy, self.tasks = policy, tasks
        device = policy.device
        self.targets = torch.tensor(targets, dtype=torch.float32, device=device)
        self.scales = torch.tensor(scales, dtype=torch.float32, device=device)
        self.widths = torch.tensor([task.action_dim for task in tasks], device=device)
        self.numbers = numbers

    def reset(self, observations, seeds, goals=None):
        n, k, model, device = len(self.tasks), self.policy.context, self.policy.model, self.policy.device
        self.returns_to_go = self.targets.clone()
        self.step = 0
        self.states = torch.zeros(n, k, model.state_dim, device=device)
        self.actions = torch.zeros(n, k, model.act_dim, dtype=torch.long, device=device)
        self.rewards, self.returns, self.mask = (torch.zeros(n, k, device=device) for _ in range(3))
        self.timesteps = torch.zeros(n, k, dtype=torch.long, device=device)

    @torch.no_grad()
    def act(self, observations):
        """observations : [ E x S ] in slots, or narrower    returns : [ E x A ] in [-1, 1]; missing columns are 0"""
        self._begin_step(np.asarray(observations, dtype=np.float32))
        model = self.policy.model.eval()
        for column in range(int(self.widths.max())):
            logits = self.logits(column)
            chosen = logits.argmax(-1)
            self.actions[:, -1, column] = torch.where(column < self.widths, chosen, self.actions[:, -1, column])
        values = self.policy.tokens.decode(self.actions[:, -1]).clamp(-1, 1)
        exists = torch.arange(model.act_dim, device=values.device) < self.widths[:, None]
        return torch.where(exists, values, 0.0).cpu().numpy()

    def _begin_step(self, observations):
        unknown = self.policy.tokens.encode(torch.zeros(1)).item()  # as an action of 0
        new = {
            'states': self.policy.normalize(observations),
            'actions': torch.full_like(self.actions[:, 0], unknown),
            'rewards': torch.zeros_like(self.returns_to_go),
            'returns': self.returns_to_go,
            'mask': torch.ones_like(self.returns_to_go),
            'timesteps': torch.full_like(self.timesteps[:, 0], self.step),
        }
        for name, value in new.items():
            setattr(self, name, torch.cat([getattr(self, name)[:, 1:], value[:, None]], dim=1))

    def logits(self, column: int) -> Tensor:
        """Of a column of the present action, given the columns before it, [ E x bins ]."""
        model, policy = self.policy.model, self.policy
        batch = Sequences(self.states, self.actions, self.returns, self.rewards, self.timesteps, self.mask)
        tokens = model.embed(batch)
        if column == 0:
            self.ids = policy.choose(model.query(tokens, self.mask), self.numbers)
        n = tokens.shape[1] - model.tokens_per_step + 2 + column  # what comes later is not seen
        keys = self.mask.repeat_interleave(model.tokens_per_step, dim=1)[:, :n]
        hidden = policy.hidden_past(len(tokens), n)
        return model.action_net(model.encoder(tokens[:, :n], keys, policy.modulator, self.ids, hidden)[:, -1])

    def observe(self, actions, rewards, observations, over):
        rewards = torch.as_tensor(np.asarray(rewards, dtype=np.float32), device=self.scales.device) / self.scales
        self.rewards[:, -1] = rewards
        self.returns_to_go = torch.minimum(self.returns_to_go - rewards, self.targets)
        self.step += 1
