"""Folders of `transformers.DecisionTransformerModel`: written from a run, and made into one.

Its config.json says nothing of the statistics that observations are normalized by, nor of the scale of returns. Ours
are kept in an entry of our own; of other folders they are asked for.
"""

from pathlib import Path

from trajectory.algorithms.decision_transformer.algorithm import (
    RECIPE,
    DecisionTransformerAlgorithm,
    check_config,
    find_targets,
)
from trajectory.datasets.describe import check_source, describe_data
from trajectory.datasets.episodes import Episodes
from trajectory.datasets.return_windows import find_statistics
from trajectory.datasets.sources import find_source
from trajectory.models.decision_transformer import (
    DecisionTransformer,
    from_huggingface,
    huggingface_config,
    to_huggingface,
)
from trajectory.storage.limits import check_record
from trajectory.storage.model_files import read_folder_weights, save_safetensors, write_folder
from trajectory.storage.weights import build_with_weights, save_state
from trajectory.utils.errors import InputError, shorten
from trajectory.utils.files import read_json, write_json

MODEL_TYPE = 'decision_transformer'
EXTRA = 'trajectory'  # the entry of config.json under which ours keeps what it has no name for
DEFAULTS = {  # of its config, for files that leave some out
    'state_dim': 17,
    'act_dim': 4,
    'hidden_size': 128,
    'n_layer': 3,
    'n_head': 1,
    'max_ep_len': 4096,
    'activation_function': 'relu',
    'action_tanh': True,
}
FIXED = {'n_inner': None, 'layer_norm_epsilon': 1e-5}  # settings that the network here does not have
DEFAULT_K = 20  # `max_length`, which it writes only if it differs


def is_huggingface(folder: Path) -> bool:
    """Whether this is a folder of `DecisionTransformerModel`."""
    path = folder / 'config.json'
    config = read_json(path) if path.exists() else None
    return isinstance(config, dict) and config.get('model_type') == MODEL_TYPE


def save_huggingface(run, target, epoch='latest') -> Path:
    """Write a run's model as `DecisionTransformerModel.from_pretrained` reads it, to a new folder."""
    algorithm = DecisionTransformerAlgorithm.load(run, epoch)
    if not isinstance(algorithm.model, DecisionTransformer):
        raise InputError(f'{run} holds an MLP, which transformers has not.\n  Train with --model_type dt.')
    config = huggingface_config(algorithm.config['model'], algorithm.facts['K'])
    kept = {name: value for name, value in algorithm.config.items() if name != 'model'}
    with write_folder(target) as folder:
        save_safetensors(to_huggingface(algorithm.model.state_dict()), folder)
        kept |= {'epoch': algorithm.epoch, 'source': algorithm.record}
        write_json(folder / 'config.json', {**config, EXTRA: kept})
    return Path(target)


def load_huggingface(
    folder, target, dataset=None, dataset_path=None, state_mean=None, state_std=None, scale=None
) -> Path:
    """Write a run's folder, for scripts/evaluate.py, of a `DecisionTransformerModel`.

    folder                : that holds config.json, and model.safetensors or pytorch_model.bin
    target                : new folder
    dataset, dataset_path : whose environment it acts in; needed unless the model is of this repository
    state_mean, state_std : [ observation ]  of the observations it was trained on, as on its card; None: those kept in
                            config.json, else of the dataset
    scale                 : that returns-to-go were divided by; None: the environment's
    """
    folder, path = Path(folder), Path(folder, 'config.json')
    config = read_json(path)
    recipe = read_recipe(config, path)
    kept = config.get(EXTRA) or describe_training(config, path, dataset, dataset_path)
    check_record(kept, {'epoch': (int, 0, 10**9)}, path)
    given = {'state_mean': state_mean, 'state_std': state_std, 'scale': scale}
    facts = {**kept, **{name: value for name, value in given.items() if value is not None}, 'model': recipe}
    source, epoch = check_source(facts.pop('source', None), path), facts.pop('epoch')
    check_config(facts, path)
    weights, weights_path = read_folder_weights(folder)
    model = build_with_weights(lambda: DecisionTransformer(**recipe), from_huggingface(weights), weights_path)
    with write_folder(target) as run:
        save_state(model, run / f'state_{epoch}.pt')
        write_json(run / 'model_config.json', facts)
        write_json(run / 'source.json', source)
        identity = DecisionTransformerAlgorithm.load(run).identity()  # or its results would pass for another model's
        write_json(run / 'args.json', {'algorithm': MODEL_TYPE, 'dataset': dataset, 'converted_model': identity})
    return Path(target)


def read_recipe(config: dict, path: Path) -> dict:
    """What `DecisionTransformer` takes, of a config.json."""
    recipe = {name: config.get(name, default) for name, default in DEFAULTS.items()}
    recipe['dropout'] = config.get('resid_pdrop', 0.1)
    check_record(recipe, RECIPE, path)
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise InputError(
                f'{path} has {name} = {shorten(config[name])}; the network here has {value}.\n'
                '  Convert a model without it.'
            )
    return recipe


def describe_training(config: dict, path: Path, dataset, dataset_path) -> dict:
    """What config.json does not say of a model of others, by the data that it was trained on."""
    if dataset is None:
        raise InputError(
            f'{path} says nothing of the data that the model was trained on.\n  Pass --dataset hopper-medium-v2, say.'
        )
    source = find_source(dataset, dataset_path)
    episodes = Episodes.read(source, keep_unfinished=False)
    best = float(episodes.returns.max())
    targets, scale = find_targets(source.id, best)
    state_mean, state_std = find_statistics(episodes)
    return {
        'K': config.get('max_length', DEFAULT_K),
        'scale': scale,
        'targets': list(targets),
        'best_return': best,
        'worst_return': float(episodes.returns.min()),
        'mode': 'normal',
        'state_mean': state_mean.tolist(),
        'state_std': state_std.tolist(),
        'epoch': 0,
        'source': describe_data(source, episodes.n_steps, episodes.returns),
    }
