"""Train a Decision Transformer on windows with returns-to-go, and act by asking it for a return."""

import logging
from pathlib import Path

import numpy as np
import torch

from trajectory.algorithms.base import Algorithm
from trajectory.algorithms.decision_transformer.agent import ReturnConditionedAgent
from trajectory.datasets.describe import describe_data, read_source
from trajectory.datasets.episodes import Episodes
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.datasets.return_windows import Batch, ReturnWindows, find_statistics
from trajectory.datasets.sources import find_source
from trajectory.environments.spec import EnvironmentSpec
from trajectory.models.action_mlp import ActionMLP
from trajectory.models.decision_transformer import DecisionTransformer, action_loss, n_parameters
from trajectory.storage.limits import RESTORE, check_record
from trajectory.storage.run_folder import hash_model
from trajectory.storage.weights import build_with_weights, pick_epoch, read_weights, save_state
from trajectory.utils.errors import InputError, check_fraction, check_positive
from trajectory.utils.files import read_json, write_json

log = logging.getLogger(__name__)

MAX_GRAD_NORM = 0.25
RECIPE = {  # of a `DecisionTransformer`: type, least, most
    'state_dim': (int, 1, 10_000),
    'act_dim': (int, 1, 10_000),
    'hidden_size': (int, 1, 2**16),
    'n_layer': (int, 1, 1_000),
    'n_head': (int, 1, 1_000),
    'max_ep_len': (int, 1, 10**6),
    'activation_function': (str,),
    'dropout': (float, 0, 1),
    'action_tanh': (bool,),
}
MLP_RECIPE = {  # of an `ActionMLP`
    **{name: RECIPE[name] for name in ('state_dim', 'act_dim', 'hidden_size', 'n_layer', 'max_ep_len', 'dropout')},
    'n_steps': (int, 1, 10**6),
}
FACTS = {
    'K': (int, 1, 10**6),
    'scale': (float, 1e-9, 1e9),
    'targets': (list, 1, 100),
    'best_return': (float,),
    'worst_return': (float,),
    'mode': (('normal', 'delayed'),),
}
N_HELD_OUT = 1024  # windows that held-out numbers are of

# (targets, the first the default; scale) by how the environment's id begins; CORL's beside the original's
TARGETS = {
    'hopper': ((3600, 1800), 1000),
    'halfcheetah': ((12000, 6000), 1000),
    'walker2d': ((5000, 2500), 1000),
    'reacher2d': ((76, 40), 10),
    'maze2d': ((280, 140), 1000),
    'antmaze': ((1, 0.5), 1),
    'pen': ((3100, 1550), 1000),
    'door': ((2900, 1450), 1000),
    'hammer': ((12800, 6400), 1000),
    'relocate': ((4300, 2150), 1000),
}


class DecisionTransformerAlgorithm(Algorithm):
    """Regression of actions on states and returns-to-go (Chen et al. 2021)."""

    free_to_change = frozenset({'learning_rate', 'max_iters'})

    @classmethod
    def build(cls, settings, device, distributed):
        check_settings(settings)
        self = cls()
        self.device, self.distributed, self.settings = device, distributed, settings
        self.source = find_source(settings.dataset, settings.dataset_path)
        self.episodes = Episodes.read(self.source, keep_unfinished=False)
        check_data(self.episodes, settings)
        learned, held_out = self.episodes.split(settings.held_out, settings.seed)
        best = float(self.episodes.returns.max())
        targets, scale = find_targets(self.source.id, best)
        scale = settings.scale or scale
        options = {
            'delayed': settings.mode == 'delayed',
            'max_ep_len': settings.max_ep_len,
            'statistics': find_statistics(self.episodes),
            'device': device,
        }
        self.windows = ReturnWindows(learned, settings.K, scale, settings.pct_traj, **options)
        self.held_out = held_out and ReturnWindows(held_out, settings.K, scale, **options)
        self.recipe = {
            'state_dim': learned.observations.shape[1],
            'act_dim': learned.actions.shape[1],
            'hidden_size': settings.embed_dim,
            'n_layer': settings.n_layer,
            'max_ep_len': settings.max_ep_len,
            'dropout': settings.dropout,
        }
        if settings.model_type == 'bc':
            self.recipe['n_steps'] = settings.K
        else:
            self.recipe.update(
                n_head=settings.n_head, activation_function=settings.activation_function, action_tanh=True
            )
        self.facts = {
            'K': settings.K,
            'scale': scale,
            'targets': list(targets),
            'best_return': best,
            'worst_return': float(self.episodes.returns.min()),
            'mode': settings.mode,
        }
        self.model = build_model(self.recipe).to(device)
        distributed.broadcast_from_main(self.model)
        self.optimizer = make_optimizer(self.model, settings)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.done = 0
        self.updates_per_epoch = settings.num_steps_per_iter
        self.n_updates = settings.max_iters * settings.num_steps_per_iter
        log.info(
            '%s steps of %s of %s episodes, return %.0f, best %.0f | %.2fM parameters | target %g, scale %g',
            f'{int(self.windows.weights.sum()):,}',
            len(self.windows.kept),
            len(self.episodes),
            self.episodes.returns.mean(),
            best,
            n_parameters(self.model) / 1e6,
            targets[0],
            scale,
        )
        return self

    def fingerprint(self):
        return self.episodes.fingerprint()

    def update(self):
        batch = self.windows.gather(*self.windows.draw(self.settings.batch_size, self.generator))
        return {'loss': self.learn(batch)}

    def learn(self, batch: Batch) -> torch.Tensor:
        """One step of the optimizer; every rank is given the whole batch, and takes its part.    returns : the loss"""
        self.model.train()
        rows = self.distributed.shard(torch.arange(len(batch.mask)))
        part = Batch(*(column[rows.to(batch.mask.device)] for column in batch))
        weight = n_counted(self.model, part) / n_counted(self.model, batch)
        self.optimizer.zero_grad(set_to_none=True)
        if len(rows):
            loss = weight * batch_loss(self.model, part)
            loss.backward()
            loss = loss.detach()
        else:
            loss = torch.zeros((), device=batch.mask.device)
        self._all_reduce(loss)
        if not isinstance(self.model, ActionMLP):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
        if not torch.isfinite(loss):
            raise InputError(f'the loss became {loss.item()}.\n  Pass a smaller --learning_rate.')
        for group in self.optimizer.param_groups:
            group['lr'] = self._rate()
        self.optimizer.step()
        self.done += 1
        return loss

    def _all_reduce(self, loss):
        if self.distributed.world_size == 1:
            return
        learned = [p for name, p in self.model.named_parameters() if not name.startswith(UNTRAINED)]
        for parameter in learned:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.distributed.all_reduce([*(parameter.grad for parameter in learned), loss])

    def _rate(self):
        return self.settings.learning_rate * min((self.done + 1) / max(1, self.settings.warmup_steps), 1)

    def status(self):
        return {'learning_rate': self._rate()}

    @torch.no_grad()
    def evaluate_held_out(self):
        if self.held_out is None:
            return {}
        self.model.eval()
        generator = torch.Generator().manual_seed(0)  # the same windows each time
        batch = self.held_out.gather(*self.held_out.draw(N_HELD_OUT, generator))
        return {'loss': batch_loss(self.model, batch).item()}

    # -------------------------------- storage ------------------------------ #

    def state_dict(self):
        return {
            'model': self.model.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'generator': self.generator.get_state(),
            'done': self.done,
        }

    def load_state_dict(self, state):
        self.model.load_state_dict(state['model'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.generator.set_state(state['generator'])
        self.done = state['done']

    def save_recipe(self, folder):
        statistics = {'state_mean': self.windows.state_mean, 'state_std': self.windows.state_std}
        write_json(folder / 'model_config.json', {'model': self.recipe, **self.facts, **statistics})
        write_json(folder / 'source.json', describe_data(self.source, self.episodes.n_steps, self.episodes.returns))

    def save(self, folder, epoch):
        save_state(self.model, folder / f'state_{epoch}.pt')

    @classmethod
    def load(cls, folder, epoch='latest', device='cpu'):
        self, folder = cls(), Path(folder)
        self.config, self.record = read_json(folder / 'model_config.json'), read_source(folder / 'source.json')
        check_config(self.config, folder / 'model_config.json')
        self.epoch, path = pick_epoch(folder, epoch)
        recipe = self.config['model']
        self.model = build_with_weights(lambda: build_model(recipe), read_weights(path), path)
        self.facts = {name: self.config[name] for name in FACTS}
        self.statistics = [np.array(self.config[name], dtype=np.float32) for name in ('state_mean', 'state_std')]
        self.mean_return = self.record['mean_return']
        self.model.to(device).eval()
        return self

    def identity(self):
        return hash_model(self.model.state_dict(), *self.statistics)

    # -------------------------------- acting ------------------------------- #

    def agent(self, settings):
        target = self.facts['targets'][0] if settings.target_return is None else settings.target_return[0]
        if not np.isfinite(target):
            raise InputError(f'target_return is {target}, expected a finite number.\n  Pass --target_return 3600, say.')
        best, worst = self.facts['best_return'], self.facts['worst_return']
        if not worst <= target <= best and not isinstance(self.model, ActionMLP):
            log.warning('a return of %g is asked for; those of the data are from %g to %g', target, worst, best)
        mean, std = (self.windows.state_mean, self.windows.state_std) if hasattr(self, 'windows') else self.statistics
        return ReturnConditionedAgent(
            self.model,
            self.facts['K'],
            mean,
            std,
            self.facts['scale'],
            target,
            settings.mode or self.facts['mode'],
            get_preprocess_fn(self.spec().id),
        )

    def variants(self, settings):
        return [{'target_return': [target]} for target in settings.target_return or ()]

    def spec(self, name=None, backend='mujoco'):
        return EnvironmentSpec.from_record(self.record, name, backend) if hasattr(self, 'record') else self.source.spec


UNTRAINED = ('predict_state', 'predict_return', 'transformer.wte')  # weights that the loss does not reach


def check_config(config, path):
    """Refuse a model_config.json that is not whole.    path : the file it is from"""
    check_record(config, FACTS, path)
    recipe = config.get('model')
    check_record(recipe, MLP_RECIPE if isinstance(recipe, dict) and 'n_steps' in recipe else RECIPE, path)
    width = config['model']['state_dim']
    check_record(config, {name: (list, width, width) for name in ('state_mean', 'state_std')}, path)
    if min(config['state_std']) <= 0:
        raise InputError(f'{path}: state_std holds {min(config["state_std"])}, expected numbers above 0.\n  {RESTORE}')


def build_model(recipe: dict) -> DecisionTransformer | ActionMLP:
    """The network of a recipe, which is an MLP's where it says how many steps that sees."""
    return ActionMLP(**recipe) if 'n_steps' in recipe else DecisionTransformer(**recipe)


def batch_loss(model, batch: Batch) -> torch.Tensor:
    """The loss of a batch: of the actions at all real steps, or at the last where only those are predicted."""
    inputs = batch.states, batch.actions, batch.returns_to_go[:, :-1], batch.timesteps, batch.mask
    predicted = model(*inputs).actions
    n = predicted.shape[1]
    return action_loss(predicted, batch.actions[:, -n:], batch.mask[:, -n:])


def n_counted(model, batch: Batch) -> torch.Tensor:
    """Steps that count in the loss of a batch."""
    return batch.mask[:, -1:].sum() if isinstance(model, ActionMLP) else batch.mask.sum()


def make_optimizer(model, settings) -> torch.optim.Optimizer:
    """AdamW that decays every parameter, as the original's."""
    return torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)


def find_targets(env_id: str, best: float) -> tuple[tuple[float, ...], float]:
    """Returns to ask for and the scale: of the environment's table, or the best return of the data."""
    for start, (targets, scale) in TARGETS.items():
        if env_id.lower().startswith(start):
            return targets, scale
    log.info('no target is known for %s: asking for the best return of the data, %g', env_id, best)
    return (best,), max(1.0, abs(best))


def check_settings(settings):
    """Raise InputError for settings out of range, before any data is read."""
    for name in ('K', 'embed_dim', 'n_layer', 'n_head', 'batch_size', 'max_iters', 'num_steps_per_iter', 'max_ep_len'):
        check_positive(name, getattr(settings, name))
    check_fraction('pct_traj', settings.pct_traj, may_be_zero=False)
    check_fraction('dropout', settings.dropout)
    if settings.scale is not None and not 0 < settings.scale < float('inf'):
        raise InputError(f'scale must be above 0, got {settings.scale}.\n  Pass --scale 1000, say.')


def check_data(episodes: Episodes, settings):
    """Raise InputError for data that a window of K steps, or a return, has no meaning in."""
    if settings.K > settings.max_ep_len:
        raise InputError(
            f'a window of K = {settings.K} steps is longer than max_ep_len = {settings.max_ep_len}.\n'
            f'  Pass --K {settings.max_ep_len}, or less.'
        )
    if settings.K > (longest := int(episodes.lengths.max())):
        raise InputError(
            f'a window of K = {settings.K} steps is longer than any episode of the data; the longest has {longest}.\n'
            f'  Pass --K {longest}, or less.'
        )
    if not episodes.rewards.any():
        raise InputError(
            'all rewards of the dataset are zero: there is no return to ask for.\n'
            '  Take data with rewards, or clone behavior: --config config.behavior_cloning.'
        )
