"""One network for many tasks: pre-train a multi-domain Decision Transformer, then fine-tune it on tasks in sequence."""

import logging
from pathlib import Path

import torch

from trajectory.algorithms.base import Algorithm
from trajectory.algorithms.multi_domain.agent import MultiDomainAgent
from trajectory.algorithms.multi_domain.evaluation import SuiteEvaluator, mean_scores
from trajectory.algorithms.multi_domain.finetuning import (
    FISHER_BATCHES,
    Anchors,
    add_modulators,
    find_finetuning,
    fisher_information,
    freeze,
    parameter_groups,
)
from trajectory.algorithms.multi_domain.policy import Policy
from trajectory.algorithms.multi_domain.records import load_policy, record_episodes, summarize, write_recipe
from trajectory.datasets.suite_windows import SuiteWindows, find_statistics, read_task
from trajectory.environments.spec import EnvironmentSpec
from trajectory.environments.suites.registry import SuiteTask, expand_tasks, find_task
from trajectory.models.multi_domain import MultiDomainTransformer, action_loss
from trajectory.models.tokens import ActionTokens
from trajectory.storage.run_folder import hash_model
from trajectory.storage.weights import pick_epoch, save_tensors
from trajectory.utils.errors import InputError, check_fraction, check_positive
from trajectory.utils.files import write_json

log = logging.getLogger(__name__)

MAX_GRAD_NORM = 0.25
PULL = 0.5  # of the keys to their queries
KEY_QUERIES, KEY_BATCHES, KEY_RATE = 4096, 300, 1e-2  # that keys of pre-training are fitted by
EVALUATION_SEED = 10_000


class MultiDomain(Algorithm):
    """A Decision Transformer of many tasks (Schmied et al. 2023), and continual fine-tuning of it."""

    logged = ('loss', 'accuracy')
    free_to_change = frozenset({'eval_tasks'})

    @classmethod
    def build(cls, settings, device, distributed):
        check_settings(settings)
        self = cls()
        self.settings, self.distributed, self.device = settings, distributed, device
        self.tasks = expand_tasks(settings.tasks)
        self.method = None if settings.finetuning is None else find_finetuning(settings.finetuning)
        self._begin_from_base() if self.method else self._begin_anew()
        distributed.broadcast_from_main(self.policy.model)
        self.policy.added.to(device)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.policy, settings.weight_decay), lr=settings.learning_rate
        )
        self.anchors = Anchors()
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.done, self.history, self.evaluator = 0, [], None
        self.updates_per_epoch = settings.num_updates // settings.evaluations
        self.n_updates = settings.num_updates * (len(self.tasks) if self.method else 1)
        return self

    # --------------------------------- data -------------------------------- #

    def _begin_anew(self):
        settings = self.settings
        state_dim = max(task.observation_dim for task in self.tasks)
        act_dim = max(task.action_dim for task in self.tasks)
        tokens = ActionTokens(settings.bins, midpoints=settings.tokens == 'midpoints')
        self.episodes = [self._read(task, tokens, state_dim, act_dim) for task in self.tasks]
        model = MultiDomainTransformer(
            state_dim,
            act_dim,
            settings.bins,
            settings.hidden_size,
            settings.n_layer,
            settings.n_head,
            max(task.max_episode_steps for task in self.tasks),
            settings.dropout,
        ).to(self.device)
        self.policy = Policy(model, tokens, find_statistics(self.episodes), settings.context)
        self.policy.hides_actions = settings.action_dropout >= 1
        self.recipe = {
            'model': {
                'state_dim': state_dim, 'act_dim': act_dim, 'bins': settings.bins, 'hidden_size': settings.hidden_size,
                'n_layer': settings.n_layer, 'n_head': settings.n_head, 'max_ep_len': model.max_ep_len,
                'dropout': settings.dropout,
            },
            'context': settings.context,
            'midpoints': tokens.midpoints,
            'hides_actions': self.policy.hides_actions,
            'finetuning': None,
            'base': None,
            'tasks': [],
            'targets': {},
        }  # fmt: skip
        self._note_targets()
        self.windows = [SuiteWindows(self.episodes, settings.context, self.policy.statistics, self.device)]

    def _begin_from_base(self):
        settings = self.settings
        if settings.base is None:
            raise InputError('fine-tuning begins from a pre-trained run.\n  Pass --base mddt/default, say.')
        base = Path(settings.logbase, settings.dataset, settings.base)
        self.policy, self.recipe = load_policy(base, 'latest', self.device)
        if self.recipe['finetuning'] is not None:
            raise InputError(f'{base} was fine-tuned itself.\n  Pass the --base that it began from.')
        model = self.policy.model
        for task in self.tasks:
            if task.action_dim > model.act_dim or task.observation_dim > model.state_dim:
                raise InputError(
                    f'{base} has states of {model.state_dim} columns and actions of {model.act_dim}; {task.name} has '
                    f'{task.observation_dim} and {task.action_dim}.\n  Pre-train with a task of its suite.'
                )
        self.base_tasks = [find_task(name) for name in self.recipe['tasks']]
        self.episodes = [self._read(task, self.policy.tokens, model.state_dim, model.act_dim) for task in self.tasks]
        options = {'n_keys': settings.n_keys, 'n_pretrain_keys': settings.n_pretrain_keys, 'n_tasks': len(self.tasks)}
        self.recipe = {
            **self.recipe,
            'finetuning': settings.finetuning,
            'added': options,
            'base': hash_model(model.state_dict()),
        }
        self._note_targets()
        add_modulators(self.policy, self.method, **options)
        freeze(self.policy, self.method)
        self.windows = [
            SuiteWindows([own], self.policy.context, self.policy.statistics, self.device) for own in self.episodes
        ]
        if self.policy.pool is not None and settings.n_pretrain_keys:
            self._fit_pretrain_keys()

    def _read(self, task: SuiteTask, tokens, state_dim, act_dim):
        return read_task(self.settings.data_path, task, tokens, state_dim, act_dim)

    def _note_targets(self):
        self.recipe['tasks'] = [*dict.fromkeys([*self.recipe['tasks'], *(task.name for task in self.tasks)])]
        self.recipe['targets'] = {
            **self.recipe['targets'],
            **{own.task.name: [own.target, own.scale] for own in self.episodes},
        }

    def _fit_pretrain_keys(self):
        """Move the keys of pre-training to the states of its tasks."""
        pool, model = self.policy.pool.to(self.device), self.policy.model
        episodes = [self._read(task, self.policy.tokens, model.state_dim, model.act_dim) for task in self.base_tasks]
        windows = SuiteWindows(episodes, self.policy.context, self.policy.statistics, self.device)
        generator = torch.Generator().manual_seed(self.settings.seed)
        optimizer = torch.optim.Adam([pool.pretrain_keys], lr=KEY_RATE)

        @torch.no_grad()
        def draw(n, number):
            batch, _ = windows.gather(windows.draw(n, generator, number))
            return model.query(model.embed(batch), batch.mask)

        n_domains = len(windows.domains)
        pool.spread_pretrain_keys(torch.cat([draw(KEY_QUERIES // n_domains, number) for number in range(n_domains)]))
        for number in range(KEY_BATCHES):
            queries = draw(self.settings.batch_size, number)
            optimizer.zero_grad()
            (-pool.pull_pretrain_keys(queries)).backward()
            optimizer.step()
        pool.pretrain_keys.requires_grad_(False)

    def fingerprint(self):
        return ' '.join(f'{own.task.name} {own.checksum:08x}' for own in self.episodes)

    # ------------------------------- learning ------------------------------ #

    @property
    def task_number(self) -> int:
        """Of the task that is trained on, in the sequence."""
        return min(self.done // self.settings.num_updates, len(self.tasks) - 1) if self.method else 0

    def update(self):
        if self.method and self.done and self.done % self.settings.num_updates == 0:
            self._switch_task()
        windows = self.windows[self.task_number if self.method else 0]
        first = windows.draw(self.settings.batch_size, self.generator, self.done)
        shard = self.distributed.shard(first)
        loss, accuracy = self._loss(windows, shard if len(shard) else first)
        weight = len(shard) / len(first)
        total = weight * loss + (self.anchors.loss(self.policy.model) / self.distributed.world_size)
        self.optimizer.zero_grad()
        total.backward()
        learned = [p for group in self.optimizer.param_groups for p in group['params']]
        for parameter in learned:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        told = torch.stack([weight * loss.detach(), weight * accuracy])
        self.distributed.all_reduce([*(parameter.grad for parameter in learned), told])
        if not torch.isfinite(told[0]):
            raise InputError(f'the loss became {told[0].item()}.\n  Pass a smaller --learning_rate.')
        torch.nn.utils.clip_grad_norm_(learned, MAX_GRAD_NORM)
        for group in self.optimizer.param_groups:
            group['lr'] = self._rate()
        self.optimizer.step()
        self.done += 1
        return {'loss': told[0], 'accuracy': told[1]}

    def _loss(self, windows, first):
        batch, counted = windows.gather(first)
        policy, model = self.policy, self.policy.model.train()
        tokens, pull, ids = model.embed(batch), 0.0, None
        if policy.pool is not None:
            choice = policy.pool.train().choose(model.query(tokens.detach(), batch.mask))
            ids, pull = choice.ids[:, 0], choice.pull
        hide = None
        if self.settings.action_dropout and policy.context > 1:
            hide = (torch.rand(len(first), generator=self.generator) < self.settings.action_dropout).to(self.device)
        logits = model.read(model.hidden(tokens, batch.mask, policy.modulator, ids, hide)).actions
        accuracy = (logits.argmax(-1) == batch.actions)[counted].float().mean().detach()
        return action_loss(logits, batch.actions, counted) - PULL * pull, accuracy

    def _switch_task(self):
        if self.settings.reset_optimizer:  # whose momentum would move the modulators of earlier tasks on
            self.optimizer.state.clear()
        if self.policy.pool is not None:
            self.policy.pool.switch_task()
        if self.method.anchored_by:
            importance = None
            if self.method.anchored_by == 'fisher':
                generator = torch.Generator().manual_seed(self.settings.seed + self.done)
                past = self.windows[self.task_number - 1]
                draws = [past.draw(self.settings.batch_size, generator) for _ in range(FISHER_BATCHES)]
                importance = fisher_information(self.policy.model, (self._loss(past, first)[0] for first in draws))
            self.anchors.add(self.policy.model, importance)

    def _rate(self):
        return self.settings.learning_rate * min((self.done + 1) / max(1, self.settings.warmup_steps), 1)

    def status(self):
        return {'learning_rate': self._rate()}

    # ------------------------------ evaluation ----------------------------- #

    def prepare(self, folder):
        self.folder = folder
        if self.settings.eval_every and self.method and not self.done and self.distributed.is_main:
            self._evaluate()  # before anything is learned

    def evaluate_policy(self, settings, acting, stop=False):
        self._evaluate()
        scores = [self.history[-1]['tasks'][task.name]['score'] for task in self.tasks]
        return {f'score/{task.name}': score for task, score in zip(self.tasks, scores, strict=True)}

    def _evaluate(self):
        if self.evaluator is None:
            others = [find_task(name) for name in self.settings.eval_tasks or ()]
            tasks = [*dict.fromkeys([*self.tasks, *others])]
            targets = [self.recipe['targets'][task.name] for task in tasks]
            numbers = [self.tasks.index(task) if task in self.tasks else 0 for task in tasks]
            self.evaluator = SuiteEvaluator(tasks, *zip(*targets, strict=True), numbers)
        episodes = self.evaluator.evaluate(self.policy, self.settings.eval_episodes, EVALUATION_SEED)
        current = max(0, (self.done - 1) // self.settings.num_updates) if self.method else 0
        self.history = [one for one in self.history if one['update'] < self.done]
        self.history.append({'update': self.done, 'current': current, 'tasks': mean_scores(episodes)})
        write_json(self.folder / 'continual.json', summarize(self.history, [task.name for task in self.tasks]))

    # -------------------------------- storage ------------------------------ #

    def state_dict(self):
        return {
            'model': self.policy.model.state_dict(),
            'added': self.policy.added.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'generator': self.generator.get_state(),
            'anchors': self.anchors.places,
            'history': self.history,
            'done': self.done,
        }

    def load_state_dict(self, state):
        self.policy.model.load_state_dict(state['model'])
        self.policy.added.load_state_dict(state['added'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.generator.set_state(state['generator'])
        self.anchors.places, self.history, self.done = state['anchors'], state['history'], state['done']

    def save_recipe(self, folder):
        write_recipe(folder, self.recipe, self.policy.statistics)

    def save(self, folder, epoch):
        parts = {'model': self.policy.model, 'added': self.policy.added}
        weights = {f'{part}.{name}': value for part, own in parts.items() for name, value in own.state_dict().items()}
        save_tensors({name: value.double() if value.dtype == torch.long else value for name, value in weights.items()},
                     folder / f'state_{epoch}.pt')  # fmt: skip

    @classmethod
    def load(cls, folder, epoch='latest', device='cpu'):
        self = cls()
        self.policy, self.recipe = load_policy(Path(folder), epoch, device)
        self.epoch, _ = pick_epoch(Path(folder), epoch)
        self.tasks = [find_task(name) for name in self.recipe['tasks']]
        return self

    def identity(self):
        return hash_model({**self.policy.model.state_dict(), **self.policy.added.state_dict()})

    def agent(self, settings):
        target, scale = self.recipe['targets'][self.tasks[0].name]
        return MultiDomainAgent(self.policy, [self.tasks[0]], [target], [scale])

    def spec(self, name=None, backend='mujoco'):
        return EnvironmentSpec(self.tasks[0].name, 'stock', name, data_source='hand-written policies')

    def record_evaluation(self, args, run):
        return record_episodes(self, args, run)


def check_settings(settings) -> None:
    """Raise InputError for settings of a training that are out of range, before any work."""
    for name in ('context', 'bins', 'hidden_size', 'n_layer', 'n_head', 'batch_size', 'num_updates', 'evaluations',
                 'eval_episodes', 'n_keys'):  # fmt: skip
        check_positive(name, getattr(settings, name))
    for name in ('dropout', 'action_dropout'):
        check_fraction(name, getattr(settings, name))
    if settings.hidden_size % settings.n_head:
        raise InputError(
            f'a width of {settings.hidden_size} cannot be shared among {settings.n_head} heads.\n  Pass --n_head 1.'
        )
    if settings.num_updates % settings.evaluations:
        raise InputError(
            f'{settings.num_updates} updates cannot be parted by {settings.evaluations} evaluations.\n'
            '  Pass --num_updates that the --evaluations divide.'
        )
    if settings.context > 1 and settings.finetuning is None and not settings.action_dropout:
        log.warning(
            'with a context of %s steps the network may copy its past actions, and freeze: pass --action_dropout 1, '
            'which hides them, or --context 1',
            settings.context,
        )
