"""The policy of a Decision Transformer: it is asked for a return, and acts for several episodes in one batch."""

import numpy as np
import torch

from trajectory.rollouts.agent import Agent

NOISE = 0.1  # deviation, of the mode `noise`


class ReturnConditionedAgent(Agent):
    """Predicts the action at the last of up to K steps, deterministically.

    model         : a `DecisionTransformer`, or an `ActionMLP`, which looks at the states alone
    n_steps       : K
    state_mean, state_std : [ d ]  of the data
    scale         : that returns-to-go are divided by
    target        : the return that is asked for
    mode          : `normal` lowers it by each reward, `delayed` does not; `noise` is `normal`, with noise on the first
                    observation
    preprocess_fn : of observations

    states, actions, returns_to_go : [ E x up to K x … ]  what the network is fed, the last action a placeholder
    """

    def __init__(self, model, n_steps, state_mean, state_std, scale, target, mode='normal', preprocess_fn=None):
        self.model, self.n_steps, self.scale, self.target, self.mode = model.eval(), n_steps, scale, target, mode
        self.mean, self.std = state_mean, state_std
        self.preprocess_fn = preprocess_fn or (lambda observations: observations)
        self.device = next(model.parameters()).device

    def reset(self, observations, seeds, goals=None):
        states = self._normalize(observations)
        if self.mode == 'noise':
            width = np.shape(observations)[1]
            noise = [np.random.default_rng(seed).normal(0, NOISE, width) for seed in seeds]
            states = self._normalize(np.asarray(observations) + np.stack(noise))
        n = len(states)
        self.states = states[:, None]
        self.actions = torch.zeros(n, 1, self.model.act_dim, device=self.device)
        self.returns_to_go = torch.full((n, 1, 1), self.target / self.scale, device=self.device)
        self.timesteps = torch.zeros(n, 1, dtype=torch.long, device=self.device)

    @torch.no_grad()
    def act(self, observations):
        actions = self.model(self.states, self.actions, self.returns_to_go, self.timesteps).actions[:, -1]
        return actions.cpu().numpy()

    def observe(self, actions, rewards, observations, over):
        self.actions[:, -1] = torch.as_tensor(np.asarray(actions), dtype=torch.float32, device=self.device)
        rewards = torch.as_tensor(np.asarray(rewards), dtype=torch.float32, device=self.device)
        last = self.returns_to_go[:, -1:]
        to_go = last if self.mode == 'delayed' else last - (rewards / self.scale)[:, None, None]
        time = (self.timesteps[:, -1:] + 1).clamp(max=self.model.max_ep_len - 1)
        grown = (
            (self.states, self._normalize(observations)[:, None]),
            (self.actions, torch.zeros_like(self.actions[:, :1])),
            (self.returns_to_go, to_go),
            (self.timesteps, time),
        )
        self.states, self.actions, self.returns_to_go, self.timesteps = (
            torch.cat(parts, dim=1)[:, -self.n_steps :] for parts in grown
        )

    def _normalize(self, observations):
        states = (self.preprocess_fn(np.asarray(observations)) - self.mean) / self.std
        return torch.as_tensor(states, dtype=torch.float32, device=self.device)
