"""Train a Trajectory Transformer on windows of tokens, and act with it by planning."""

import logging
import time
from pathlib import Path

from trajectory.algorithms.base import Algorithm
from trajectory.algorithms.trajectory_transformer.agent import PlanningAgent
from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel
from trajectory.algorithms.trajectory_transformer.recovery import (
    describe_source,
    recover,
    save_beside,
    spec_of_model,
)
from trajectory.datasets import DiscretizedDataset, GoalDataset, find_source, get_preprocess_fn
from trajectory.datasets.describe import spec_of
from trajectory.models import GPT, ConditionalGPT
from trajectory.search.settings import SearchSettings
from trajectory.storage.config import Config
from trajectory.storage.limits import check_data_settings, check_model_settings
from trajectory.storage.run_folder import hash_model
from trajectory.storage.weights import save_state
from trajectory.training.trainer import Trainer, WindowLearner, count_epochs
from trajectory.utils.arrays import free_memory
from trajectory.utils.errors import InputError, check_fraction, check_positive
from trajectory.utils.files import write_json
from trajectory.utils.runtime import available_threads

log = logging.getLogger(__name__)

READER = 'this command', 'Pass other values.'  # of settings that could not be read again


class TrajectoryTransformer(Algorithm):
    """A GPT over tokens of observations, actions, rewards and values (Janner, Li, Levine 2021).

    Made by `build`, it learns; made by `load`, it acts: `trained` is then what was loaded.
    """

    free_to_change = frozenset({'n_epochs_ref', 'learning_rate', 'lr_decay', 'tokens_on', 'compile'})

    def __init__(self, trained: TrainedModel | None = None, folder: Path | None = None):
        self.trained = trained
        self.folder = folder
        self.epoch = trained.epoch if trained else None

    # ------------------------------- learning ------------------------------ #

    @classmethod
    def build(cls, settings, device, distributed):
        check_train_settings(settings)
        self, started = cls(), time.perf_counter()
        source = find_source(settings.dataset, settings.dataset_path, settings.backend)
        data_config = data_recipe(settings)
        self.dataset = dataset = data_config(env=source, device='cpu')
        windows, self.held_out = dataset.split(settings.held_out, settings.seed)
        log.info(
            '%s transitions in %s episodes, return %.0f ± %.0f, from %s: tokens in %.1f s',
            f'{len(dataset.joined_raw):,}',
            f'{len(dataset.path_lengths):,}',
            dataset.path_returns.mean(),
            dataset.path_returns.std(),
            source.data_source,
            time.perf_counter() - started,
        )

        model_config = model_recipe(settings, dataset.layout)
        self.model = model_config().to(device)
        distributed.broadcast_from_main(self.model)

        n_epochs = count_epochs(len(windows), settings.n_epochs, settings.n_epochs_ref)
        if n_epochs < 1:
            raise InputError(
                f'{len(windows):,} windows and n_epochs_ref = {settings.n_epochs_ref} make {n_epochs} '
                'epochs.\n  Pass --n_epochs 1, or more.'
            )
        trainer_config = trainer_recipe(settings, device, n_epochs, len(windows) * self.model.block_size)
        self.trainer = trainer_config(distributed)
        self.learner = WindowLearner(self.trainer, self.model, dataset, windows, n_epochs)
        self.n_updates, self.updates_per_epoch = self.learner.n_updates, self.learner.updates_per_epoch
        self.recipes = {'data': data_config, 'model': model_config, 'trainer': trainer_config}
        self.tokens_on = settings.tokens_on
        self.device = device
        log.info(
            '%s windows of %s tokens | %s epochs | %s updates | %.2fM parameters | on %s x %s, %s',
            f'{len(windows):,}',
            self.model.block_size,
            n_epochs,
            f'{self.n_updates:,}',
            sum(p.numel() for p in self.model.parameters()) / 1e6,
            distributed.world_size,
            device,
            self.trainer.arithmetic,
        )
        return self

    def fingerprint(self):
        return self.dataset.fingerprint()

    def prepare(self, folder):
        if self.tokens_on == 'disk' or (
            self.tokens_on == 'auto' and 2 * self.dataset.n_bytes > free_memory(self.device)
        ):
            self.dataset.keep_on_disk(folder)
            log.info('tokens are read from disk, beside the step before')
        else:
            self.dataset.move_to(self.device)

    def update(self):
        return self.learner.update()

    def check(self):
        self.learner.check()

    def status(self):
        return self.learner.status()

    def evaluate_held_out(self):
        if not len(self.held_out):
            return {}
        return self.trainer.evaluate(self.model, self.dataset, self.held_out)

    def state_dict(self):
        return self.learner.state_dict()

    def load_state_dict(self, state):
        self.learner.load_state_dict(state)

    # -------------------------------- storage ------------------------------ #

    def save_recipe(self, folder):
        for name, recipe in self.recipes.items():
            recipe.save(folder / f'{name}_config.json')
        self.dataset.discretizer.save(folder / 'discretizer.npz')
        write_json(folder / 'source.json', describe_source(self.dataset))

    def save(self, folder, epoch):
        save_state(self.model, folder / f'state_{epoch}.pt')

    @classmethod
    def load(cls, folder, epoch='latest', device='cpu'):
        return cls(TrainedModel.from_run(folder, epoch=epoch, device=device), Path(folder))

    def identity(self):
        return hash_model(self.trained.model.state_dict(), self.trained.discretizer.thresholds)

    # -------------------------------- acting ------------------------------- #

    def agent(self, settings):
        if self.trained is None:  # it is learning
            recipe, discretizer = self.recipes['data'], self.dataset.discretizer
            model, discount, env_id = self.model, recipe.discount, spec_of(self.dataset.env).id
        else:
            self.trained = recover(self.trained, settings.dataset, settings.dataset_path)
            save_beside(self.trained, self.folder)
            recipe, discretizer, model = self.trained.data, self.trained.discretizer, self.trained.model
            discount, env_id = self.trained.discount, self.trained.source['environment']
        return PlanningAgent(
            model,
            discretizer.with_repeats() if settings.token_values == 'repeated' else discretizer,
            get_preprocess_fn(env_id),
            SearchSettings.from_args(settings, discount),
            action_repeat=recipe.step if recipe else 1,
            n_threads=settings.threads or available_threads(),
            trace_freq=settings.trace_freq,
        )

    def spec(self, name=None, backend='mujoco'):
        if self.trained is None:
            return spec_of(self.dataset.env)
        return spec_of_model(self.trained, name, backend)

    @property
    def mean_return(self):
        return self.trained.source['mean_return']


# --------------------------------- recipes --------------------------------- #


def check_train_settings(settings):
    """Raise InputError for settings out of range, before any data is read."""
    for name in ('step', 'subsampled_sequence_length', 'n_layer', 'n_head', 'n_embd', 'batch_size', 'n_epochs'):
        if getattr(settings, name) is not None:
            check_positive(name, getattr(settings, name))
    for name in ('discount', 'learning_rate'):
        check_fraction(name, getattr(settings, name), may_be_zero=False)
    for name in ('embd_pdrop', 'resid_pdrop', 'attn_pdrop', 'held_out'):
        check_fraction(name, getattr(settings, name))


def data_recipe(settings) -> Config:
    """Windows of tokens."""
    recipe = Config(
        GoalDataset if settings.goal_conditioned else DiscretizedDataset,
        verbose=False,
        env=settings.dataset,
        N=settings.N,
        penalty=settings.termination_penalty,
        sequence_length=settings.subsampled_sequence_length * settings.step,
        step=settings.step,
        discount=settings.discount,
        max_path_length=settings.max_path_length,
        discretizer=settings.discretizer,
    )
    check_data_settings(recipe, *READER)
    return recipe


def model_recipe(settings, layout) -> Config:
    """The GPT of such windows.    layout : `TransitionLayout`"""
    recipe = Config(
        ConditionalGPT if settings.goal_conditioned else GPT,
        verbose=False,
        vocab_size=settings.N,
        block_size=settings.subsampled_sequence_length * layout.dim - 1,
        n_layer=settings.n_layer,
        n_head=settings.n_head,
        n_embd=settings.n_embd * settings.n_head,
        observation_dim=layout.observation_dim,
        action_dim=layout.action_dim,
        transition_dim=layout.dim,
        action_weight=settings.action_weight,
        reward_weight=settings.reward_weight,
        value_weight=settings.value_weight,
        embd_pdrop=settings.embd_pdrop,
        resid_pdrop=settings.resid_pdrop,
        attn_pdrop=settings.attn_pdrop,
        **({'share_head': True} if settings.share_head else {}),
    )
    check_model_settings(recipe, *READER)
    return recipe


def trainer_recipe(settings, device, n_epochs: int, tokens_per_epoch: int) -> Config:
    """The optimizer and its schedule."""
    return Config(
        Trainer,
        verbose=False,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        betas=(0.9, 0.95),
        grad_norm_clip=1.0,
        weight_decay=0.1,
        lr_decay=settings.lr_decay,
        warmup_tokens=tokens_per_epoch,
        final_tokens=(20 if settings.lr_schedule == 'reference' else n_epochs) * tokens_per_epoch,
        device=str(device),
        seed=settings.seed,
        precision=settings.precision,
        compile=settings.compile,
    )
