"""Behavior cloning: an MLP from the last observations to the action, by squared error."""

import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trajectory.algorithms.base import Algorithm
from trajectory.datasets.describe import describe_data, read_source
from trajectory.datasets.episodes import Episodes
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.datasets.sources import find_source
from trajectory.environments.spec import EnvironmentSpec
from trajectory.rollouts.agent import Agent
from trajectory.storage.limits import check_record
from trajectory.storage.run_folder import hash_model
from trajectory.storage.weights import build_with_weights, pick_epoch, read_weights, save_state
from trajectory.training.batches import ShuffledBatches
from trajectory.utils.errors import InputError, check_fraction, check_positive
from trajectory.utils.files import read_json, write_json

log = logging.getLogger(__name__)

RECIPE = {  # of a `Policy`: type, least, most
    'observation_dim': (int, 1, 10_000),
    'action_dim': (int, 1, 10_000),
    'context': (int, 1, 10_000),
    'width': (int, 1, 2**16),
    'n_layer': (int, 1, 1_000),
    'dropout': (float, 0, 1),
}


class Policy(nn.Module):
    """Mean action of a context.    x : [ B x context · d ]    returns : [ B x a ]

    The statistics that inputs and outputs are normalized by are buffers, so they lie with the weights.
    """

    def __init__(self, observation_dim: int, action_dim: int, context: int, width: int, n_layer: int, dropout: float):
        super().__init__()
        widths = [context * observation_dim] + n_layer * [width]
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout))]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], action_dim))
        for name, n in (('mean', observation_dim), ('std', observation_dim), ('low', action_dim), ('high', action_dim)):
            self.register_buffer(name, torch.zeros(n))

    def forward(self, x):
        normalized = (x.unflatten(1, (-1, len(self.mean))) - self.mean) / self.std
        return torch.clamp(self.layers(normalized.flatten(1)), self.low, self.high)


class BehaviorCloning(Algorithm):
    """Regression of actions on observations (Pomerleau 1991); %BC learns from the best episodes alone."""

    free_to_change = frozenset({'learning_rate'})

    @classmethod
    def build(cls, settings, device, distributed):
        for name in ('context', 'width', 'n_layer', 'n_epochs', 'batch_size'):
            check_positive(name, getattr(settings, name))
        check_fraction('pct_traj', settings.pct_traj, may_be_zero=False)
        self = cls()
        self.source = find_source(settings.dataset, settings.dataset_path)
        self.episodes = Episodes.read(self.source)
        learned, held_out = self.episodes.split(settings.held_out, settings.seed)
        learned = learned.best(settings.pct_traj)
        self.data, self.held_out = (part and _contexts(part, settings.context, device) for part in (learned, held_out))
        self.recipe = {
            'observation_dim': learned.observations.shape[1],
            'action_dim': learned.actions.shape[1],
            **{name: getattr(settings, name) for name in ('context', 'width', 'n_layer', 'dropout')},
        }
        self.policy, self.distributed = Policy(**self.recipe), distributed
        for name, value in (
            ('mean', learned.observations.mean(0)),
            ('std', learned.observations.std(0) + 1e-3),
            ('low', learned.actions.min(0)),
            ('high', learned.actions.max(0)),
        ):
            getattr(self.policy, name).copy_(torch.as_tensor(value))
        distributed.broadcast_from_main(self.policy.to(device))
        self.optimizer = torch.optim.AdamW(
            self.policy.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.batches = ShuffledBatches(learned.n_steps, settings.batch_size, settings.seed)
        self.updates_per_epoch = self.batches.per_epoch
        self.n_updates = settings.n_epochs * self.updates_per_epoch
        log.info(
            '%s steps of %s of %s episodes, return %.0f of %.0f',
            f'{learned.n_steps:,}',
            len(learned),
            len(self.episodes),
            learned.returns.mean(),
            self.episodes.returns.mean(),
        )
        return self

    def fingerprint(self):
        return self.episodes.fingerprint()

    def update(self):
        self.policy.train()
        batch = self.batches.next_batch()
        shard = self.distributed.shard(batch)
        weight = len(shard) / len(batch)
        loss = weight * self._loss(self.data, shard if len(shard) else batch)
        self.optimizer.zero_grad()
        loss.backward()
        loss = loss.detach()
        self.distributed.all_reduce([*(parameter.grad for parameter in self.policy.parameters()), loss])
        if not torch.isfinite(loss):
            raise InputError(f'the loss became {loss.item()}.\n  Pass a smaller --learning_rate.')
        self.optimizer.step()
        return {'loss': loss}

    def _loss(self, data, indices):
        contexts, actions = (part[indices] for part in data)
        return nn.functional.mse_loss(self.policy(contexts), actions)

    @torch.no_grad()
    def evaluate_held_out(self):
        self.policy.eval()
        return {'loss': self._loss(self.held_out, slice(None)).item()} if self.held_out else {}

    def status(self):
        return {'learning_rate': self.optimizer.param_groups[0]['lr']}

    def state_dict(self):
        return {
            'model': self.policy.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'batches': self.batches.state_dict(),
        }

    def load_state_dict(self, state):
        self.policy.load_state_dict(state['model'])
        rates = [group['lr'] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state['optimizer'])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group['lr'] = rate  # it may have been changed on purpose
        self.batches.load_state_dict(state['batches'])

    def save_recipe(self, folder):
        write_json(folder / 'model_config.json', self.recipe)
        write_json(folder / 'source.json', describe_data(self.source, self.episodes.n_steps, self.episodes.returns))

    def save(self, folder, epoch):
        save_state(self.policy, folder / f'state_{epoch}.pt')

    @classmethod
    def load(cls, folder, epoch='latest', device='cpu'):
        self, folder = cls(), Path(folder)
        recipe, self.record = read_json(folder / 'model_config.json'), read_source(folder / 'source.json')
        check_record(recipe, RECIPE, folder / 'model_config.json')
        self.epoch, path = pick_epoch(folder, epoch)
        self.policy = build_with_weights(lambda: Policy(**recipe), read_weights(path), path)
        self.policy.to(device).eval()
        self.mean_return = self.record['mean_return']
        return self

    def identity(self):
        return hash_model(self.policy.state_dict())

    def agent(self, settings):
        return PolicyAgent(self.policy, self.spec().id)

    def spec(self, name=None, backend='mujoco'):
        return EnvironmentSpec.from_record(self.record, name, backend) if hasattr(self, 'record') else self.source.spec


class PolicyAgent(Agent):
    """Takes the policy's mean action; before an episode's first observations it repeats the first."""

    def __init__(self, policy: Policy, environment: str):
        self.policy, self.preprocess_fn = policy, get_preprocess_fn(environment)

    def reset(self, observations, seeds, goals=None):
        first = self.preprocess_fn(np.asarray(observations, dtype=np.float32))
        n = self.policy.layers[0].in_features // len(self.policy.mean)
        self.context = np.repeat(first[:, None], n, axis=1)  # [ E x context x d ]

    @torch.no_grad()
    def act(self, observations):
        self.policy.eval()
        context = torch.as_tensor(self.context, device=self.policy.mean.device).flatten(1)
        return self.policy(context).cpu().numpy()

    def observe(self, actions, rewards, observations, over):
        new = self.preprocess_fn(np.asarray(observations, dtype=np.float32))
        self.context = np.concatenate([self.context[:, 1:], new[:, None]], axis=1)


def _contexts(episodes, n, device):
    """The last n observations at each step, [ steps x n · d ], and the actions there, [ steps x a ]."""
    first = np.repeat(episodes.starts, episodes.lengths)
    rows = np.maximum(np.arange(episodes.n_steps)[:, None] + np.arange(1 - n, 1), first[:, None])
    contexts = episodes.observations[rows].reshape(episodes.n_steps, -1)
    return torch.as_tensor(contexts, device=device), torch.as_tensor(episodes.actions, device=device)
