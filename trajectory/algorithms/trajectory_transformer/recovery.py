"""Find out again, from the dataset, what the original code did not keep with a model: its bins, its environment."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from torch import Tensor

from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel, check_fit
from trajectory.datasets.describe import describe_data
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.datasets.sequence import DiscretizedDataset, check_widths
from trajectory.datasets.sources import find_source
from trajectory.environments.spec import EnvironmentSpec
from trajectory.storage.config import Config
from trajectory.utils.errors import InputError
from trajectory.utils.files import read_json, write_json

log = logging.getLogger(__name__)


def describe_source(dataset) -> dict:
    """What `source.json` says: the environment and its physics, where the data is from, and how good it is."""
    return {
        **describe_data(dataset.env, len(dataset.joined_raw), dataset.path_returns),
        'discretizer': dataset.discretizer.checksum(),
    }


def recover(trained: TrainedModel, name: str, dataset_path=None) -> TrainedModel:
    """The model with the discretizer and the source that it lacks, made from the data it learned from.

    name         : the dataset to take where the model names none, with the settings of the published models
    dataset_path : its file, where it is not the one that the name stands for
    """
    if trained.discretizer is not None and trained.source is not None:
        return trained
    recipe = trained.data or published_data_recipe(name, trained.model)
    try:
        env = find_source(recipe['env'], dataset_path)
        dataset = recipe(env=env, device='cpu')
    except InputError as error:
        raise InputError(
            f'the model comes without discretizer.npz or source.json, and they cannot be made from its data:\n  {error}'
        ) from error
    discretizer = trained.discretizer or dataset.discretizer
    check_fit(discretizer, trained.model, env.dataset_path)
    log.info('the model came without its bins: made them from %s', env.data_source)
    return replace(trained, data=recipe, discretizer=discretizer, source=trained.source or describe_source(dataset))


@dataclass(frozen=True)
class RunWithData:
    """A model, and the data it learned from, whose episodes are split as they were for its training.

    name              : of the dataset
    learned, held_out : numbers of windows, [ n ]; none held out where the run held none out
    """

    trained: TrainedModel
    dataset: DiscretizedDataset
    name: str
    learned: Tensor
    held_out: Tensor

    def episodes(self, windows: Tensor) -> np.ndarray:
        """Numbers of the episodes that windows are from."""
        return np.unique(self.dataset.indices[windows.numpy()][:, 0])


def load_with_data(run: str | Path, epoch='latest', dataset_path: str | None = None) -> RunWithData:
    """A run of every step and without goals, with its data.    dataset_path : its file, where that is not the name's"""
    run = Path(run)
    settings = read_json(run / 'args.json') if (run / 'args.json').exists() else {}
    name = settings.get('dataset') or run.parent.name
    trained = recover(TrainedModel.from_run(run, epoch=epoch), name, dataset_path)
    if trained.data is None:
        raise InputError(f'{run} does not say what data it learned from.\n  Train it again: scripts/train.py')
    if trained.data['step'] != 1 or trained.model.n_goal:
        learned_from = 'goals' if trained.model.n_goal else f'every {trained.data["step"]}. step'
        raise InputError(
            f'{run} learned from {learned_from}; this needs a model of every step, without goals.\n  Name such a run.'
        )
    source = find_source(trained.data['env'], dataset_path or settings.get('dataset_path'))
    dataset = trained.data(env=source, device='cpu')
    learned, held_out = dataset.split(settings.get('held_out') or 0, settings.get('seed') or 0)
    return RunWithData(trained, dataset, name, learned, held_out)


def spec_of_model(trained: TrainedModel, name: str, backend: str = 'mujoco') -> EnvironmentSpec:
    """Where a model acts.    name : of the dataset it is asked for"""
    try:
        spec = EnvironmentSpec.from_record(trained.source, name, backend).check()
        there = SimpleNamespace(spec=spec, name=name, id=spec.id)
        check_widths(there, get_preprocess_fn(spec.id), trained.model.layout)
    except InputError as error:
        raise InputError(f"the model's source.json names an environment that is none of its own: {error}") from error
    return spec


def published_data_recipe(name: str, model) -> Config:
    """How the published models' data was read, for a model that came without its recipe."""
    log.info('nothing says how the data was read: taking the settings of the published models, and %s', name)
    n_steps = (model.block_size + 1) // model.transition_dim
    return Config(
        DiscretizedDataset,
        verbose=False,
        env=name,
        N=model.vocab_size,
        penalty=-100,
        sequence_length=n_steps,
        step=1,
        discount=0.99,
        discretizer='QuantileDiscretizer',
    )


def save_beside(trained: TrainedModel, folder: Path) -> None:
    """Write what was recovered beside the weights, where a folder may be written to."""
    try:
        for name, write in (
            ('discretizer.npz', trained.discretizer.save),
            ('source.json', lambda path: write_json(path, trained.source)),
        ):
            if not (folder / name).exists():
                write(folder / name)
    except (OSError, InputError) as error:
        log.warning('the bins are made anew each time, because they cannot be kept in %s: %s', folder, error)
