"""Keep a trained model with all that planning needs, in a folder that travels.

    format         model_config and weights                            made by
    run            model_config.json, state_<n>.pt                     scripts/train.py
    reference      model_config.pkl, state_<n>.pt                      the original code
    pretrained     config.json, model.safetensors                      `save_pretrained`: nothing pickled
    huggingface    config.json, model.safetensors/pytorch_model.bin    `transformers`

Beside them lie, where they are known, `discretizer.npz` and `source.json`: see `recovery.py`.
"""

import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from trajectory.algorithms.trajectory_transformer.building import build_model, recipe_of
from trajectory.algorithms.trajectory_transformer.huggingface import (
    EXTRA,
    MODEL_TYPE,
    check_has_a_port,
    check_port_reads,
    from_huggingface_config,
    from_huggingface_names,
    to_huggingface_config,
    to_huggingface_names,
)
from trajectory.datasets.describe import read_source
from trajectory.datasets.discretization import QuantileDiscretizer, load_discretizer
from trajectory.storage.config import Config, class_name, load_config
from trajectory.storage.limits import check_data_settings
from trajectory.storage.model_files import (
    download_model,
    import_hub,
    read_folder_weights,
    save_safetensors,
    write_folder,
)
from trajectory.storage.weights import (
    get_latest_epoch,
    how_to_get_a_model,
    list_epochs,
    pick_epoch,
    read_weights,
    save_state,
)
from trajectory.utils.errors import InputError
from trajectory.utils.files import describe_contents, read_json, write_atomically, write_json

VERSION = 1


@dataclass(frozen=True)
class TrainedModel:
    """A model and what was kept with it.

    epoch       : that its weights are from; None where nobody says
    data        : the recipe of the dataset it learned from, or None
    discretizer : what its tokens mean, or None
    source      : environment, physics, data_source, mean_return and more of the data, or None
    """

    model: torch.nn.Module
    epoch: int | None = None
    data: Config | None = None
    discretizer: QuantileDiscretizer | None = None
    source: dict | None = None

    @property
    def discount(self) -> float:
        """Of the values the model learned; the published models' 0.99 where nothing tells."""
        return self.data.get('discount', 0.99) if self.data is not None else 0.99

    @classmethod
    def from_pretrained(
        cls, name, *, epoch='latest', device='cpu', revision: str | None = None, flag='--gpt_epoch'
    ) -> 'TrainedModel':
        """Read a folder of any of the formats, or `owner/name` on the Hugging Face Hub.    flag : of the epoch"""
        return cls.from_run(
            Path(name) if Path(name).is_dir() else download_model(str(name), revision),
            epoch=epoch,
            device=device,
            flag=flag,
        )

    @classmethod
    def from_run(cls, *loadpath, epoch='latest', device='cpu', flag='--gpt_epoch') -> 'TrainedModel':
        """Read the folder `Path(*loadpath)`, of any of the formats."""
        model, epoch = load_model(*loadpath, epoch=epoch, device=device, flag=flag)
        folder = Path(*loadpath)
        edges, source = folder / 'discretizer.npz', folder / 'source.json'
        discretizer = load_discretizer(edges) if edges.exists() else None
        if discretizer is not None:
            check_fit(discretizer, model, edges)
        source = read_source(source) if source.exists() else None
        if discretizer is not None and source is not None:
            check_pair(discretizer, source, edges)
        return cls(model, epoch, read_data_recipe(folder), discretizer, source)

    def save_pretrained(self, folder) -> Path:
        """Write a folder of the format `pretrained`; it appears whole or not at all."""
        return save_as(self, folder, 'pretrained')

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Put what `save_pretrained` writes on the Hugging Face Hub.    returns : its address there"""
        hub = import_hub()
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / 'model')
            api = hub.HfApi(token=token)
            try:
                address = api.create_repo(repo_id, private=private, exist_ok=True)
                api.upload_folder(repo_id=address.repo_id, folder_path=Path(folder) / 'model')
            except (OSError, ValueError) as error:  # what the Hub refuses and an unreachable one are OSErrors
                raise InputError(
                    f'cannot put the model on the Hub as {repo_id}: {error}\n'
                    '  Log in (hf auth login), and check the name: owner/name.'
                ) from error
        return str(address)


# --------------------------------- reading -------------------------------- #


def load_model(*loadpath, epoch='latest', device='cpu', flag='--gpt_epoch'):
    """Build the model of a run and give it the weights it had after `epoch` epochs.

    The folder may also be one that `save_pretrained` wrote, or Hugging Face's, as above.

    flag    : with which the user chose the epoch
    returns : the model, in evaluation mode on `device`, and the epoch
    """
    folder = Path(*loadpath)
    recipe = next(
        (
            folder / f'model_config.{ending}'
            for ending in ('json', 'pkl')
            if (folder / f'model_config.{ending}').exists()
        ),
        None,
    )
    if recipe is None and (folder / 'config.json').exists():
        return load_pretrained_model(folder, epoch, device)
    if recipe is None:
        raise InputError(
            f'{folder} holds no model_config.json. {describe_contents(folder)}{how_to_get_a_model(loadpath)}'
        )
    if epoch in ('latest', None) and not list_epochs(folder):
        get_latest_epoch(*loadpath)  # which says how to get one
    epoch, path = pick_epoch(folder, epoch, flag)
    return build_model(load_config(recipe), recipe, read_weights(path), path).to(device), epoch


def load_pretrained_model(folder: Path, epoch, device):
    """As `load_model`, of a folder whose config.json is ours or Hugging Face's."""
    path = folder / 'config.json'
    config = _read_config(path)
    kept = config['epoch'] if _is_ours(config) else _extra(config).get('epoch')
    if epoch not in ('latest', None, kept):
        raise InputError(f'{folder} holds the weights of one epoch only, {kept}.\n  Ask for the latest.')
    recipe = _recipe(config['model'], path) if _is_ours(config) else from_huggingface_config(config)
    weights, weights_path = read_folder_weights(folder)
    if not _is_ours(config):
        weights = from_huggingface_names(weights)
    return build_model(recipe, path, weights, weights_path).to(device), kept


def read_data_recipe(folder: Path) -> Config | None:
    """The recipe of the dataset that a folder's model learned from; None where nothing is said of it."""
    for name in ('data_config.json', 'data_config.pkl'):
        if (folder / name).exists():
            return _checked(Config.load(folder / name), folder / name)
    if not (folder / 'config.json').exists():
        return None
    config = _read_config(folder / 'config.json')
    recipe = config['data'] if _is_ours(config) else _extra(config).get('data')
    return recipe and _checked(_recipe(recipe, folder / 'config.json'), folder / 'config.json')


def check_pair(discretizer: QuantileDiscretizer, source: dict, path) -> None:
    """Refuse the bins of another run, where source.json says which ones the model learned."""
    if source.get('discretizer', discretizer.checksum()) != discretizer.checksum():
        raise InputError(
            f'{path} is not the discretizer that the model beside it was trained with: its checksum is '
            f'{discretizer.checksum()}, source.json says {source["discretizer"]}.\n'
            '  Restore the file from where the run was trained.'
        )


def check_fit(discretizer: QuantileDiscretizer, model, path) -> None:
    """Refuse edges that are of another number of bins or columns than the model's."""
    n_edges, n_columns = discretizer.thresholds.shape
    if (n_edges - 1, n_columns) != (model.vocab_size, model.transition_dim):
        raise InputError(
            f'{path} has {n_edges - 1} bins for {n_columns} columns, the model beside it '
            f'{model.vocab_size} for {model.transition_dim}.\n'
            '  Were the two copied from different runs? Restore the pair, or train again.'
        )


def _read_config(path):
    config = read_json(path)
    if not isinstance(config, dict) or not (_is_ours(config) or config.get('model_type') == MODEL_TYPE):
        raise InputError(
            f'{path} describes no Trajectory Transformer: expected "format": "trajectory", or '
            f'"model_type": "{MODEL_TYPE}".\n  Name a folder that holds one.'
        )
    if _is_ours(config) and (config.get('version') != VERSION or not {'epoch', 'model', 'data'} <= config.keys()):
        raise InputError(
            f'{path} is of version {config.get("version")!r}, or not whole; this code reads {VERSION}.\n'
            '  Download it again, or update this code.'
        )
    epoch = config['epoch'] if _is_ours(config) else _extra(config).get('epoch')
    if not isinstance(epoch, int | None) or (epoch or 0) < 0:
        raise InputError(f'{path}: epoch is {str(epoch)[:100]!r}, expected a whole number.\n  Restore the file.')
    return config


def _is_ours(config):
    return config.get('format') == 'trajectory'


def _extra(config):
    extra = config.get(EXTRA)
    return extra if isinstance(extra, dict) else {}


def _recipe(recipe, path):
    if not isinstance(recipe, dict) or not isinstance(recipe.get('settings'), dict):
        raise InputError(f'{path} holds a recipe that is none: expected "class" and "settings".\n  Restore the file.')
    return Config.restore(recipe.get('class'), recipe['settings'], path)


def _checked(recipe, path):
    if not hasattr(recipe._class, 'gather'):
        raise InputError(
            f'{path} describes a {class_name(recipe._class)}, expected a dataset of tokens.\n'
            '  Restore the file, or download it again.'
        )
    check_data_settings(recipe, path)
    return recipe


# --------------------------------- writing -------------------------------- #


def save_as(trained: TrainedModel, folder, format: str, *, check=None) -> Path:
    """Write a folder of this format, and let it appear whole or not at all.

    check   : called with the folder before it has its name; what it raises lets nothing appear
    returns : the folder
    """
    with write_folder(folder) as partial:
        FORMATS[format](trained, partial)
        if trained.discretizer is not None:
            trained.discretizer.save(partial / 'discretizer.npz')
        if trained.source is not None:
            write_json(partial / 'source.json', trained.source)
        if check is not None:
            check(partial)
    return Path(folder)


def check_same(trained: TrainedModel, folder: Path) -> None:
    """Make sure that the model in a folder computes what this one does: by our code, and by its format's own."""
    copy = TrainedModel.from_run(folder)
    model = trained.model
    tokens = torch.randint(model.vocab_size + 1, (4, model.block_size), generator=torch.Generator().manual_seed(0))
    goal = [tokens[:, : model.n_goal] % model.vocab_size] * bool(model.n_goal)
    with torch.no_grad():
        expected, found = (read(tokens, *goal)[0] for read in (model.cpu(), copy.model))
    if not torch.equal(expected, found):
        raise RuntimeError(f'{folder} computes other logits, by up to {(found - expected).abs().max():.1e}')
    if (folder / 'config.json').exists() and not _is_ours(_read_config(folder / 'config.json')):
        check_port_reads(folder, model, tokens)


def _write_pretrained(trained, folder):
    weights = trained.model.state_dict()
    save_safetensors({name: value for name, value in weights.items() if not name.endswith('.attn.mask')}, folder)
    write_json(
        folder / 'config.json',
        {
            'format': 'trajectory',
            'version': VERSION,
            'epoch': trained.epoch,
            'model': _as_dict(recipe_of(trained.model)),
            'data': _as_dict(trained.data),
        },
    )


def _write_huggingface(trained, folder):
    recipe = recipe_of(trained.model)
    check_has_a_port(recipe)
    save_safetensors(to_huggingface_names(trained.model.state_dict()), folder)
    write_json(
        folder / 'config.json',
        to_huggingface_config(
            recipe,
            {'epoch': trained.epoch, 'data': _as_dict(trained.data)},
        ),
    )


def _write_reference(trained, folder):
    if trained.data is None:
        raise InputError(
            'the original code plans with the dataset, and nothing says which the model learned from.\n'
            '  Pass --dataset hopper-medium-v2, say.'
        )
    for recipe, name in ((recipe_of(trained.model), 'model'), (trained.data, 'data')):
        with write_atomically(folder / f'{name}_config.pkl') as partial:
            partial.write_bytes(pickle.dumps(recipe, protocol=4))  # which Python 3.8 reads
    save_state(trained.model, folder / f'state_{trained.epoch or 0}.pt')


FORMATS = {'pretrained': _write_pretrained, 'huggingface': _write_huggingface, 'reference': _write_reference}


def _as_dict(recipe):
    return recipe and {'class': class_name(recipe._class), 'settings': dict(recipe)}
