"""Find out again, from the data set, what the original code did not keep with a model: its bins, its environment."""
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from trajectory.datasets.d4rl import load_environment
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.datasets.sequence import DiscretizedDataset, check_widths
from trajectory.storage.config import Config
from trajectory.storage.pretrained import TrainedModel, check_fit
from trajectory.storage.serialization import write_json
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)


def describe_source(dataset) -> dict:
    """What `source.json` says: the environment and its physics, where the data is from, and how good it is.

    With `environment_settings` and `reference_returns`, where they are not the environment's own.
    """
    env, returns = dataset.env, np.sort(dataset.path_returns)
    own = {'environment_settings': env.settings, 'reference_returns': env.references}
    best_tenth = returns[-max(1, len(returns) // 10):]
    return {
        'environment': env.id, 'physics': env.physics, 'data_source': env.data_source,
        **{name: value for name, value in own.items() if value},
        'transitions': len(dataset.joined_raw), 'episodes': len(dataset.path_lengths),
        'mean_return': returns.mean(), 'best_tenth_return': best_tenth.mean(),
        'discretizer': dataset.discretizer.checksum(),
    }


def recover(trained: TrainedModel, name: str, dataset_path=None) -> TrainedModel:
    """The model with the discretizer and the source that it lacks, made from the data it learned from.

    name         : the data set to take where the model names none, with the settings of the published models
    dataset_path : its file, where it is not the one that the name stands for
    """
    if trained.discretizer is not None and trained.source is not None:
        return trained
    recipe = trained.data or published_data_recipe(name, trained.model)
    try:
        env = load_environment(recipe['env'], dataset_path)
        dataset = recipe(env=env, device='cpu')
    except InputError as error:
        raise InputError('the model comes without discretizer.npz or source.json, and they cannot be made from its '
                         f'data:\n  {error}') from error
    discretizer = trained.discretizer or dataset.discretizer
    check_fit(discretizer, trained.model, env.dataset_path)
    log.info('the model came without its bins: made them from %s', env.data_source)
    return replace(trained, data=recipe, discretizer=discretizer,
                   source=trained.source or describe_source(dataset))


def open_environment(trained: TrainedModel, name: str, backend: str = 'mujoco'):
    """The environment that the model acts in.    name : of the data set it is asked for"""
    from trajectory.environments.offline import make_environment

    source = trained.source
    try:
        if backend == 'd4rl':
            env = load_environment(name, backend=backend)
        else:
            env = make_environment(source['environment'], source['physics'], name,
                                   settings=source.get('environment_settings'),
                                   references=source.get('reference_returns'))
        check_widths(env, get_preprocess_fn(env.id), trained.model.layout)
    except InputError as error:
        raise InputError(f"the model's source.json names an environment that is none of its own: {error}") from error
    return env


def published_data_recipe(name: str, model) -> Config:
    """How the published models' data was read, for a model that came without its recipe."""
    log.info('nothing says how the data was read: taking the settings of the published models, and %s', name)
    n_steps = (model.block_size + 1) // model.transition_dim
    return Config(DiscretizedDataset, verbose=False, env=name, N=model.vocab_size, penalty=-100,
                  sequence_length=n_steps, step=1, discount=0.99, discretizer='QuantileDiscretizer')


def save_beside(trained: TrainedModel, folder: Path) -> None:
    """Write what was recovered beside the weights, where a folder may be written to."""
    try:
        for name, write in (('discretizer.npz', trained.discretizer.save),
                            ('source.json', lambda path: write_json(path, trained.source))):
            if not (folder / name).exists():
                write(folder / name)
    except (OSError, InputError) as error:
        log.warning('the bins are made anew each time, because they cannot be kept in %s: %s', folder, error)
