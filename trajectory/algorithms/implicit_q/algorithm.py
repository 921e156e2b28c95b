"""Implicit Q-learning: Q-functions by expectile regression, and a policy by advantage-weighted regression."""

import logging
import math
from pathlib import Path

import numpy as np
import torch

from trajectory.algorithms.base import Algorithm
from trajectory.datasets.describe import describe_data, read_source
from trajectory.datasets.episodes import Episodes
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.datasets.sources import find_source
from trajectory.environments.catalogue import ROBOTS
from trajectory.environments.spec import EnvironmentSpec
from trajectory.models.critics import ActorCritic, expectile_loss
from trajectory.rollouts.agent import Agent
from trajectory.search.q_values import QRanking
from trajectory.storage.limits import check_record
from trajectory.storage.run_folder import hash_model
from trajectory.storage.weights import build_with_weights, pick_epoch, read_weights, save_state
from trajectory.training.batches import ShuffledBatches
from trajectory.utils.errors import InputError, check_fraction, check_positive
from trajectory.utils.files import read_json, write_json

log = logging.getLogger(__name__)

MAX_WEIGHT = 100.0  # of an action in the policy's regression
RETURN_RANGE = 1000.0  # that the rewards of locomotion are scaled to: between the worst episode and the best
MIN_STD = 1e-3  # added to the deviation of each column of the observations
MAZES = 'maze2d', 'antmaze'
RECIPE = {  # of an `ActorCritic`, and of the rewards it learned from: type, least, most
    'observation_dim': (int, 1, 10_000),
    'action_dim': (int, 1, 10_000),
    'width': (int, 1, 2**16),
    'n_layer': (int, 1, 1_000),
    'discount': (float, 0, 1),
    'reward_scale': (float, 0, math.inf),
    'reward_shift': (float, -math.inf, math.inf),
}


class ImplicitQLearning(Algorithm):
    """IQL (Kostrikov, Nair, Levine 2021): V is an expectile of Q over the data's actions, and Q learns from V.

    The policy is regressed on the data's actions, each weighed by how much better it is than V.
    """

    free_to_change = frozenset({'learning_rate'})
    logged = ('q_loss', 'value_loss', 'policy_loss', 'q')

    # ------------------------------- learning ------------------------------ #

    @classmethod
    def build(cls, settings, device, distributed):
        for name in ('width', 'n_layer', 'n_updates', 'epoch_updates', 'batch_size', 'n_steps'):
            check_positive(name, getattr(settings, name))
        for name in ('expectile', 'discount', 'target_update', 'learning_rate'):
            if getattr(settings, name) is not None:
                check_fraction(name, getattr(settings, name), may_be_zero=False)
        if settings.temperature is not None and not 0 <= settings.temperature < math.inf:
            raise InputError(f'temperature must be at least 0, got {settings.temperature}.\n  Pass --temperature 3.')
        self = cls()
        self.settings, self.distributed = settings, distributed
        self.source = find_source(settings.dataset, settings.dataset_path)
        sharp = self.source.id.startswith(MAZES)  # good actions are rare there
        self.expectile = settings.expectile or (0.9 if sharp else 0.7)
        self.temperature = (10.0 if sharp else 3.0) if settings.temperature is None else settings.temperature
        self.episodes = Episodes.read(self.source)
        learned, held_out = self.episodes.split(settings.held_out, settings.seed)
        scale, shift = find_reward_transform(self.source.id, self.episodes.returns, settings)
        self.recipe = {
            'observation_dim': learned.observations.shape[1],
            'action_dim': learned.actions.shape[1],
            'width': settings.width,
            'n_layer': settings.n_layer,
            'discount': float(settings.discount),
            'reward_scale': scale,
            'reward_shift': shift,
        }
        self.networks = ActorCritic(**_sizes(self.recipe))
        self.networks.mean.copy_(torch.as_tensor(learned.observations.mean(0)))
        self.networks.std.copy_(torch.as_tensor(learned.observations.std(0) + MIN_STD))
        self.networks.policy.low.copy_(torch.as_tensor(learned.actions.min(0)))
        self.networks.policy.high.copy_(torch.as_tensor(learned.actions.max(0)))
        distributed.broadcast_from_main(self.networks.to(device))
        self.data, self.held_out = (part and self._to_tensors(part, device) for part in (learned, held_out))
        if not len(self.data[0]):
            raise InputError(
                f'{settings.dataset} has no step whose next observation is known.\n  Record longer episodes.'
            )
        self.bounds = _bounds_of_values(scale * learned.rewards + shift, settings.discount)
        critics = [*self.networks.q.parameters(), *self.networks.value.parameters()]
        self.optimizer = torch.optim.Adam(
            [{'params': critics}, {'params': list(self.networks.policy.parameters())}],
            settings.learning_rate,
            fused=device.type in ('cpu', 'cuda'),
        )
        self.n_done, self.n_updates = 0, settings.n_updates
        self.updates_per_epoch = min(settings.epoch_updates, settings.n_updates)
        self.batches = ShuffledBatches(len(self.data[0]), settings.batch_size, settings.seed)
        self._is_finite = torch.ones((), dtype=torch.bool, device=device)
        log.info(
            '%s transitions of %s episodes, return %.0f ± %.0f | rewards x %.4g %+.4g',
            f'{len(self.data[0]):,}',
            f'{len(learned):,}',
            learned.returns.mean(),
            learned.returns.std(),
            scale,
            shift,
        )
        return self

    def _to_tensors(self, episodes, device):
        rewards = self.recipe['reward_scale'] * episodes.rewards + self.recipe['reward_shift']
        columns = episodes.transitions(rewards, self.settings.discount, self.settings.n_steps)
        tensors = [torch.as_tensor(np.asarray(column, np.float32), device=device) for column in columns]
        for place in (0, 3):
            tensors[place] = self.networks.normalize(tensors[place])
        return tuple(tensors)

    def fingerprint(self):
        return self.episodes.fingerprint()

    def update(self):
        batch = self.batches.next_batch()
        shard = self.distributed.shard(batch)
        weight = len(shard) / len(batch)
        losses = self._losses(*(column[shard if len(shard) else batch] for column in self.data))
        self.optimizer.zero_grad()
        (weight * (losses['q_loss'] + losses['value_loss'] + losses['policy_loss'])).backward()
        numbers = {name: weight * number.detach() for name, number in losses.items()}
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group['params']]
        self.distributed.all_reduce([*(parameter.grad for parameter in parameters), *numbers.values()])
        self._is_finite &= torch.isfinite(sum(numbers.values()))
        rate = self.settings.learning_rate
        self.optimizer.param_groups[0]['lr'] = rate
        self.optimizer.param_groups[1]['lr'] = rate * (1 + math.cos(math.pi * self.n_done / self.n_updates)) / 2
        self.optimizer.step()
        self.networks.move_targets(self.settings.target_update)
        self.n_done += 1
        return numbers

    def _losses(self, observations, actions, returns, following, discounts):
        """Of the Q-functions, of V, and of the policy; and the mean Q, in the data's rewards as they are scaled."""
        networks = self.networks
        with torch.no_grad():
            target = networks.target_q.lower(observations, actions)
            following_values = networks.value(following)[:, 0].clamp(*self.bounds)
            backup = returns + discounts * following_values
        advantages = target - networks.value(observations)[:, 0]
        weights = (self.temperature * advantages.detach()).exp().clamp(max=MAX_WEIGHT)
        return {
            'q_loss': ((networks.q(observations, actions) - backup) ** 2).sum(0).mean(),
            'value_loss': expectile_loss(advantages, self.expectile),
            'policy_loss': -(weights * networks.policy.log_prob(observations, actions)).mean(),
            'q': target.mean(),
        }

    @torch.no_grad()
    def evaluate_held_out(self):
        if not self.held_out:
            return {}
        return {name: number.item() for name, number in self._losses(*self.held_out).items()}

    def check(self):
        if not self._is_finite:
            raise InputError('a loss became infinite, or not a number.\n  Pass a smaller --learning_rate.')

    def status(self):
        return {'learning_rate': self.optimizer.param_groups[0]['lr']}

    def state_dict(self):
        return {
            'model': self.networks.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'batches': self.batches.state_dict(),
            'n_done': self.n_done,
        }

    def load_state_dict(self, state):
        self.networks.load_state_dict(state['model'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.batches.load_state_dict(state['batches'])
        self.n_done = state['n_done']

    # -------------------------------- storage ------------------------------ #

    def save_recipe(self, folder):
        write_json(folder / 'model_config.json', self.recipe)
        write_json(folder / 'source.json', describe_data(self.source, self.episodes.n_steps, self.episodes.returns))

    def save(self, folder, epoch):
        save_state(self.networks, folder / f'state_{epoch}.pt')

    @classmethod
    def load(cls, folder, epoch='latest', device='cpu', flag='--epoch'):
        self, folder = cls(), Path(folder)
        self.recipe, self.record = read_json(folder / 'model_config.json'), read_source(folder / 'source.json')
        check_record(self.recipe, RECIPE, folder / 'model_config.json')
        self.epoch, path = pick_epoch(folder, epoch, flag)
        self.networks = build_with_weights(lambda: ActorCritic(**_sizes(self.recipe)), read_weights(path), path)
        self.networks.to(device).eval()
        self.mean_return = self.record['mean_return']
        return self

    def identity(self):
        return hash_model(self.networks.state_dict())

    # -------------------------------- acting ------------------------------- #

    def agent(self, settings):
        return MeanAgent(self.networks, get_preprocess_fn(self.spec().id))

    def spec(self, name=None, backend='mujoco'):
        return EnvironmentSpec.from_record(self.record, name, backend) if hasattr(self, 'record') else self.source.spec

    def ranking(self, discretizer, layout, search_settings) -> QRanking:
        """What a beam search ranks its candidates by, in place of the values that the model predicts.

        discretizer, layout : of the model    search_settings : `SearchSettings`
        """
        widths = self.recipe['observation_dim'], self.recipe['action_dim']
        if widths != (layout.observation_dim, layout.action_dim):
            raise InputError(
                f'the Q-functions read observations and actions of {widths[0]} and {widths[1]} columns, the model '
                f'imagines {layout.observation_dim} and {layout.action_dim}.\n  Take two of one dataset.'
            )
        if self.recipe['discount'] != search_settings.discount:
            log.warning(
                'Q was learned with a discount of %s, and the search has %s: pass --discount %s',
                self.recipe['discount'], search_settings.discount, self.recipe['discount'],
            )  # fmt: skip
        return QRanking(
            self.networks.q_of,
            discretizer,
            layout,
            discount=search_settings.discount,
            percentile=search_settings.percentile,
            reward_scale=self.recipe['reward_scale'],
            reward_shift=self.recipe['reward_shift'],
        )


class MeanAgent(Agent):
    """Takes the mean of a policy's distribution, as IQL is evaluated."""

    def __init__(self, networks, preprocess_fn):
        self.networks, self.preprocess_fn = networks, preprocess_fn

    def reset(self, observations, seeds, goals=None):
        self.networks.eval()

    @torch.no_grad()
    def act(self, observations):
        seen = self.preprocess_fn(np.asarray(observations, dtype=np.float32))
        return self.networks.act(torch.as_tensor(seen, device=self.networks.mean.device)).cpu().numpy()


def find_reward_transform(environment: str, returns: np.ndarray, settings) -> tuple[float, float]:
    """Scale and shift of rewards, where the settings leave them to the environment, as Kostrikov et al. 2021 do.

    AntMaze's rewards become -1 on each step until the goal. Locomotion's are scaled so that the returns of the worst
    episode and the best lie 1000 apart. Others stay as they are.
    """
    scale, shift = settings.reward_scale, settings.reward_shift
    if shift is None:
        shift = -1.0 if environment.startswith('antmaze') else 0.0
    if scale is None:
        spread = float(np.ptp(returns))
        scale = RETURN_RANGE / spread if environment.startswith(tuple(ROBOTS.values())) and spread > 0 else 1.0
    if not (math.isfinite(scale) and scale > 0 and math.isfinite(shift)):
        raise InputError(f'rewards cannot be scaled by {scale} and shifted by {shift}.\n  Pass --reward_scale 1, say.')
    return float(scale), float(shift)


def _bounds_of_values(rewards, discount) -> tuple[float, float]:
    """What no policy's value can be below or above, by the least and the largest reward; episodes may end, worth 0."""
    horizon = 1 / (1 - discount) if discount < 1 else math.inf
    least, largest = min(rewards.min().item(), 0.0), max(rewards.max().item(), 0.0)
    return (least * horizon if least else 0.0), (largest * horizon if largest else 0.0)


def _sizes(recipe):
    return {name: recipe[name] for name in ('observation_dim', 'action_dim', 'width', 'n_layer')}
