"""MAML with TRPO as an algorithm of the house: it learns from episodes of its own, in tasks drawn for each update."""

import logging
from pathlib import Path

import numpy as np
import torch

from trajectory.algorithms.base import Algorithm
from trajectory.algorithms.maml.agent import SamplingAgent
from trajectory.algorithms.maml.evaluation import evaluate_adaptation, record_adaptation
from trajectory.algorithms.maml.learner import MetaLearner, Rated, TaskParams
from trajectory.environments.families.registry import find_family
from trajectory.environments.spec import EnvironmentSpec
from trajectory.models.policies import NONLINEARITIES, CategoricalMLPPolicy, NormalMLPPolicy, Policy
from trajectory.rollouts.batch_episodes import total_rewards
from trajectory.rollouts.sampler import BatchSampler
from trajectory.storage.limits import check_record
from trajectory.storage.run_folder import hash_model
from trajectory.storage.weights import build_with_weights, pick_epoch, read_weights, save_state
from trajectory.utils.errors import InputError, check_fraction, check_positive
from trajectory.utils.files import read_json, write_json
from trajectory.utils.runtime import tune_malloc

log = logging.getLogger(__name__)

POLICIES = {'normal': NormalMLPPolicy, 'categorical': CategoricalMLPPolicy}

RECIPE = {  # of a policy, and of the adaptation it was trained for: type, least, most
    'env': (str,),
    'policy': (tuple(POLICIES),),
    'input_size': (int, 1, 10_000),
    'output_size': (int, 1, 10_000),
    'hidden_size': (int, 1, 2**14),
    'num_layers': (int, 1, 100),
    'nonlinearity': (tuple(NONLINEARITIES),),
    'gamma': (float, 0, 1),
    'tau': (float, 0, 1),
    'fast_lr': (float, 0, 1e6),
}

# what the draws of an update, or of an evaluation, are for: a word of their seeds
TASKS, TRAIN, VALID = 0, 1, 2


class MAML(Algorithm):
    """Meta-learning of a policy: an update samples tasks, adapts to each, and moves what adaptation starts from.

    `fast_lr` 0 makes it TRPO on all tasks at once, the control of a policy that never adapted.
    """

    logged = ('total_rewards/before_update', 'total_rewards/after_update')
    learns_from_data = False
    free_to_change = frozenset({'num_batches', 'num_workers'})

    @classmethod
    def build(cls, settings, device, distributed):
        check_settings(settings)
        self = cls()
        if device.type == 'cpu':
            tune_malloc()  # a third of the time of an update
        self.settings, self.distributed = settings, distributed
        if settings.meta_batch_size < distributed.world_size:
            raise InputError(
                f'{settings.meta_batch_size} tasks cannot be shared out among {distributed.world_size} processes.\n'
                f'  Pass --meta_batch_size {distributed.world_size}, or start fewer processes.'
            )
        self._sample_from(settings.dataset, settings.fast_batch_size, settings.num_workers)
        kind, output_size = policy_for(self.sampler.env.action_space)
        self.recipe = {
            'env': settings.dataset,
            'policy': kind,
            'input_size': int(np.prod(self.sampler.env.observation_space.shape)),
            'output_size': output_size,
            **{name: getattr(settings, name) for name in list(RECIPE)[4:]},
        }
        self.policy = make_policy(self.recipe).to(device)
        distributed.broadcast_from_main(self.policy)
        self.n_updates, self.n_done = settings.num_batches, 0
        tasks = torch.arange(settings.meta_batch_size)
        self.learner = self._learner(
            first_order=settings.first_order,
            reduce=distributed.all_reduce,
            share=len(distributed.shard(tasks)) / len(tasks),
        )
        return self

    def _sample_from(self, env, batch_size, num_workers):
        self.family = find_family(env)
        self.sampler = BatchSampler(env, batch_size, num_workers)

    def _learner(self, **options) -> MetaLearner:
        return MetaLearner(self.policy, *(self.recipe[name] for name in ('gamma', 'tau', 'fast_lr')), **options)

    def update(self):
        settings, seed = self.settings, (self.settings.seed, self.n_done)
        tasks = self.sampler.sample_tasks(settings.meta_batch_size, (*seed, TASKS))
        tasks = [tasks[m] for m in self.distributed.shard(torch.arange(len(tasks)))]
        train, valid, rewards = [], None, []
        params: TaskParams = self.learner.expand(self.policy.params, len(tasks))
        for step in range(settings.num_steps + 1):
            draws = (*seed, VALID if step == settings.num_steps else TRAIN, step, self.distributed.rank)
            episodes = self.sampler.sample(self.policy, tasks, draws, params if step else None)
            rewards.append(float(total_rewards(episodes).mean()))
            self._check_finite('a reward', rewards[-1])
            if step < settings.num_steps:
                baseline = self.learner.fit_baseline(episodes)
                train.append(self.learner.rate(episodes, baseline))
                params = self.learner.adapt(train[-1], params)
            else:
                valid = self.learner.rate(episodes, baseline)
        before, after = self._mean_over_processes(rewards[0], rewards[-1])
        numbers = {'total_rewards/before_update': before, 'total_rewards/after_update': after}
        self.n_done += 1
        return {**numbers, **self._step(train, valid)}

    def _step(self, train: list[Rated], valid: Rated) -> dict:
        names = ('max_kl', 'cg_iters', 'cg_damping', 'ls_max_steps', 'ls_backtrack_ratio')
        step = self.learner.step(train, valid, **{name: getattr(self.settings, name) for name in names})
        self._check_finite('the gradient', float(step.gradient.abs().sum()))
        if step.step is None:
            log.warning(
                'update %s: the rewards of each task are all equal, so there is nothing to learn; no step is made',
                self.n_done,
            )
        elif not step.accepted:
            log.warning('update %s: no step lowers the loss within the trust region; none is made', self.n_done)
        tried = step.search.tries[step.search.accepted] if step.accepted else (0.0, 0.0)
        return {'surrogate_loss': tried[0], 'kl': tried[1], 'accepted': float(step.accepted)}

    def _mean_over_processes(self, *numbers):
        total = torch.tensor(numbers, dtype=torch.float64) * self.learner.share
        self.distributed.all_reduce([total])
        return total.tolist()

    def _check_finite(self, what, number):
        if not np.isfinite(number):
            raise InputError(
                f'{what} of update {self.n_done + 1} became {number}.\n'
                '  The last checkpoint is whole: pass a smaller --fast_lr or --max_kl with --restart.'
            )

    def evaluate_policy(self, settings, acting, stop=False):
        """Return on held-out tasks after each number of gradient steps."""
        returns = evaluate_adaptation(self, acting)
        return {f'total_rewards/heldout_{k}_steps': float(of_tasks.mean()) for k, of_tasks in enumerate(returns)}

    def record_evaluation(self, args, run):
        return record_adaptation(self, args, run)

    def state_dict(self):
        return {'model': self.policy.state_dict(), 'n_done': self.n_done}

    def load_state_dict(self, state):
        self.policy.load_state_dict(state['model'])
        self.n_done = int(state['n_done'])

    def save_recipe(self, folder):
        write_json(folder / 'model_config.json', self.recipe)
        write_json(folder / 'source.json', self.spec().record())

    def save(self, folder, epoch):
        save_state(self.policy, folder / f'state_{epoch}.pt')

    @classmethod
    def load(cls, folder, epoch='latest', device='cpu'):
        self, folder = cls(), Path(folder)
        self.recipe = read_json(folder / 'model_config.json')
        check_record(self.recipe, RECIPE, folder / 'model_config.json')
        self.family = find_family(self.recipe['env'])
        self.epoch, path = pick_epoch(folder, epoch)
        self.policy = build_with_weights(lambda: make_policy(self.recipe), read_weights(path), path).to(device)
        self.learner = self._learner()
        return self

    def reset_policy(self, seed: int) -> None:
        """Draw the weights anew, as those of a policy that was never trained."""
        torch.manual_seed(seed)
        self.policy.load_state_dict(make_policy(self.recipe).state_dict())

    def optimal_return(self, task: dict) -> float | None:
        """The greatest expected return in a task, where it is known."""
        return self.family.make().unwrapped.family.optimal_return(task) if self.family.is_batched else None

    def identity(self):
        return hash_model(self.policy.state_dict())

    def agent(self, settings):
        return SamplingAgent(self.policy)

    def spec(self, name=None, backend='mujoco'):
        return EnvironmentSpec(self.family.id, 'stock', name, data_source='episodes of its own')


def policy_for(space) -> tuple[str, int]:
    """The kind of policy for an action space, and its outputs."""
    from gymnasium.spaces import Discrete

    return ('categorical', int(space.n)) if isinstance(space, Discrete) else ('normal', int(np.prod(space.shape)))


def make_policy(recipe) -> Policy:
    """The policy that a recipe describes."""
    hidden = recipe['num_layers'] * (recipe['hidden_size'],)
    return POLICIES[recipe['policy']](recipe['input_size'], recipe['output_size'], hidden, recipe['nonlinearity'])


def check_settings(settings) -> None:
    """Raise InputError for settings of a training that are out of range, before any work."""
    find_family(settings.dataset)
    for name in (
        *('num_batches', 'hidden_size', 'num_layers', 'fast_batch_size', 'meta_batch_size', 'num_steps'),
        *('cg_iters', 'ls_max_steps', 'num_workers'),
    ):
        check_positive(name, getattr(settings, name))
    for name in ('gamma', 'tau', 'ls_backtrack_ratio'):
        check_fraction(name, getattr(settings, name), may_be_zero=name != 'ls_backtrack_ratio')
    for name, may_be_zero in (('fast_lr', True), ('cg_damping', True), ('max_kl', False)):
        value = getattr(settings, name)
        if value < 0 or (value == 0 and not may_be_zero):
            raise InputError(
                f'{name} must be {"at least" if may_be_zero else "above"} 0, got {value}.\n  Pass --{name} 0.01, say.'
            )
