"""Write a run's files whole, and read them back: recipes, settings and weights.

A run's folder is its interface: nothing in it has to be unpickled, and a file is complete or absent.
"""
import io
import json
import os
import re
import secrets
import zipfile
from argparse import Namespace
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

from trajectory.storage.limits import check_model_settings
from trajectory.utils.errors import InputError


def mkdir(path, flag='--logbase') -> bool:
    """Make the folder `path` and its parents.    flag : that chose the place    returns : whether it was not there"""
    path = Path(path)
    is_new = not path.is_dir()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'cannot make the folder {path}: {error.strerror}.\n  Choose another place with {flag}.'
        ) from error
    return is_new

# -------------------------------- writing --------------------------------- #

@contextmanager
def write_atomically(path):
    """Yield a path to write to, which becomes `path` once all is written, and vanishes if anything fails.

    It lies beside `path` and ends alike, because some writers choose their format by the ending.
    """
    path = Path(path)
    partial = path.with_name(f'.{secrets.token_hex(4)}.{path.name}')
    try:
        yield partial
        with open(partial, 'rb+') as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def cannot_write(path, error: OSError) -> InputError:
    """What to tell the user when the disk is full or the folder closed."""
    kept = 'what it held before is whole' if Path(path).exists() else 'it was not written'
    return InputError(f'cannot write {path}: {error.strerror or error}; {kept}.\n'
                      '  Free some space or open the folder, and give the same command again.')


def remove_partials(folder):
    """Delete what writers left that were killed at work."""
    for path in Path(folder).glob('.*'):
        if re.match(r'\.[0-9a-f]{8}\.', path.name):
            path.unlink(missing_ok=True)


def write_json(path, obj):
    """Write `obj` as readable JSON; paths become text, and numpy numbers and arrays plain ones."""
    text = json.dumps(obj, indent=2, default=_plain)
    with write_atomically(path) as partial:
        partial.write_text(text + '\n', encoding='utf-8')


def save_state(model, path):
    """Write the weights of `model`, and nothing else, where `load_model` finds them."""
    save_tensors(model.state_dict(), path)


def save_tensors(state: dict, path):
    """Write tensors, numbers and names in lists and dicts; `torch.load(path, weights_only=True)` reads them."""
    buffer = io.BytesIO()       # torch's own writer does not say why a disk refuses
    torch.save(state, buffer)
    with write_atomically(path) as partial:
        partial.write_bytes(buffer.getbuffer())

# -------------------------------- reading --------------------------------- #

def read_json(path):
    """Return what a JSON file holds."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise InputError(f'{path} does not exist. {_contents(path.parent)}') from error
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}') from error
    except (ValueError, RecursionError) as error:   # not JSON, or not even text
        raise InputError(
            f'{path} is not valid JSON: {error}.\n  Restore the file, or run the script that writes it.'
        ) from error


def load_args(*loadpath) -> Namespace:
    """Return the settings that the run in this folder was started with."""
    return Namespace(**read_json(Path(*loadpath) / 'args.json'))


def load_config(*loadpath):
    """Return the saved recipe, `x.json` or `x.pkl`: the name that was given, or in its absence the other."""
    from trajectory.storage.config import Config  # which writes its files with the functions above

    return Config.load(Path(*loadpath))


def load_from_config(*loadpath):
    """Build what the saved recipe describes."""
    return load_config(*loadpath)()


def get_latest_epoch(*loadpath) -> int:
    """Return the largest n of the `state_<n>.pt` in this folder."""
    epochs = _epochs(Path(*loadpath))
    if not epochs:
        raise InputError(f'{Path(*loadpath)} holds no state_*.pt.{_remedy(loadpath)}')
    return epochs[-1]


def load_model(*loadpath, epoch='latest', device='cpu', flag='--gpt_epoch'):
    """Build the model of a run and give it the weights it had after `epoch` epochs.

    The folder may also be one that `save_pretrained` wrote, or Hugging Face's: see `pretrained`.

    flag    : with which the user chose the epoch
    returns : the model, in evaluation mode on `device`, and the epoch
    """
    folder = Path(*loadpath)
    recipe = next((folder / f'model_config.{ending}' for ending in ('json', 'pkl')
                   if (folder / f'model_config.{ending}').exists()), None)
    if recipe is None and (folder / 'config.json').exists():
        from trajectory.storage.pretrained import load_pretrained_model  # which reads its files with the functions here

        return load_pretrained_model(folder, epoch, device)
    if recipe is None:
        raise InputError(f'{folder} holds no model_config.json. {_contents(folder)}{_remedy(loadpath)}')
    if epoch in ('latest', None):
        epoch = get_latest_epoch(folder) if _epochs(folder) else get_latest_epoch(*loadpath)
    elif epoch not in _epochs(folder):
        present = ', '.join(map(str, _epochs(folder))) or 'none'
        raise InputError(
            f'{folder} holds no state_{epoch}.pt; the epochs there are: {present}.\n'
            f'  Pass one of them with {flag}, or {flag} latest.'
        )
    path = folder / f'state_{epoch}.pt'
    return build_model(load_config(recipe), recipe, read_weights(path), path).to(device), epoch


def build_model(config, config_path: Path, weights: dict, weights_path: Path):
    """The model of a recipe with these weights, in evaluation mode; what does not fit is named by its file.

    The constant `attn.mask` may be missing from the weights, as in Hugging Face's files.
    """
    _check_model_class(config, config_path)
    check_model_settings(config, config_path)
    misfit = f'{weights_path} does not fit the model that {config_path.name} beside it describes.\n'
    remedy = '\n  Were the two copied from different runs? Restore the pair, or download it again.'
    n_columns, n_bins, width = config['transition_dim'], config['vocab_size'], config['n_embd']
    n_heads = () if config.get('share_head') else (n_columns,)
    largest = {'pos_emb': (1, config['block_size'], width), 'head.weight': (*n_heads, n_bins + 1, width),
               'tok_emb.weight': (n_columns * n_bins + 1, width)}
    for name, expected in largest.items():      # compared before anything so large is made
        found = tuple(weights[name].shape) if name in weights else None
        if found != expected:
            raise InputError(f'{misfit}  {name} has the shape {found}, expected {expected}.{remedy}')
    try:
        model = config()
    except ValueError as error:
        raise InputError(f'{config_path}: {error}.\n  Restore the file, or download it again.') from error

    masks = {name: value for name, value in model.state_dict().items() if name.endswith('.attn.mask')}
    if wrong := [name for name, value in masks.items() if name in weights and not torch.equal(value, weights[name])]:
        raise InputError(f'{misfit}  {wrong[0]} is not the mask of such a model.{remedy}')
    try:
        model.load_state_dict({**masks, **weights})
    except RuntimeError as error:
        raise InputError(f'{misfit}{error}{remedy}') from error
    return model.eval()

# -------------------------------- details --------------------------------- #

def _plain(value):
    """Give JSON the plain twin of a value it does not know."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f'JSON has no form for {value!r}, a {type(value).__name__}')


def _epochs(folder: Path) -> list[int]:
    names = [re.fullmatch(r'state_(\d+)\.pt', path.name) for path in folder.glob('state_*.pt')]
    return sorted(int(name[1]) for name in names if name)


def _check_model_class(config, path):
    from trajectory.storage.config import class_name

    if not hasattr(config._class, 'get_block_size'):
        raise InputError(f'{path} describes a {class_name(config._class)}, expected a model.\n'
                         '  Restore the file, or download it again.')


def read_weights(path: Path) -> dict:
    """Read a state dict without running anything that the file may ask for."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise zipfile.BadZipFile('it is compressed, as torch.save never does')
                if part := archive.testzip():       # torch itself ignores the checksums
                    raise zipfile.BadZipFile(f'the checksum of {part} is wrong')
        weights = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:      # cut or flipped bytes make the readers raise nearly anything
        raise InputError(
            f'{path} cannot be read as weights: {_reason(error)}\n'
            '  It may be cut short: copy or download it again, or take an earlier epoch.'
        ) from error
    if not isinstance(weights, dict) or not all(torch.is_tensor(value) for value in weights.values()):
        raise InputError(
            f'{path} holds a {type(weights).__name__}, not a state dict of tensors.\n'
            '  Write it with torch.save(model.state_dict(), path).'
        )
    return check_weights(weights, path)


def check_weights(weights: dict, path: Path) -> dict:
    """Return the weights, if they are ordinary numbers."""
    for name, value in weights.items():
        is_plain = value.layout == torch.strided and value.dtype.is_floating_point and value.device.type == 'cpu'
        if not is_plain or value.nbytes > value.untyped_storage().nbytes():     # one number can pose as many
            raise InputError(f'{path}: {name} is no ordinary tensor of floating-point numbers but {value.dtype}, '
                             f'{value.layout}, {list(value.shape)}.\n  Copy or download it again.')
        if not value.isfinite().all():
            raise InputError(f'{path}: {name} holds numbers that are not finite.\n'
                             '  Copy or download it again, or take an earlier epoch.')
    return weights


def _reason(error) -> str:
    """What is wrong with a file of weights, in a line: not torch's advice to trust it."""
    if asked := re.search(r'GLOBAL ([\w.]+)', str(error)):
        return f'it asks for {asked[1]}, which no weights need; nothing of it was run.'
    detail = re.search('WeightsUnpickler error: (.*)', str(error))
    return (detail[1] if detail else str(error).partition('\n')[0]) or type(error).__name__


def _contents(folder: Path) -> str:
    if not folder.is_dir():
        return 'Its folder does not exist either.'
    names = sorted(path.name for path in folder.iterdir())
    shown = ', '.join(names[:12]) + (f' and {len(names) - 12} more' if len(names) > 12 else '')
    return f'Its folder holds {shown}.' if names else 'Its folder is empty.'


def _remedy(loadpath) -> str:
    """Say how to get a model; scripts load it from `logbase, dataset, gpt_loadpath`."""
    _, dataset, name = loadpath if len(loadpath) == 3 else (None, 'DATASET', 'NAME')
    return (
        f'\n  Train one:       python scripts/train.py --dataset {dataset} --exp_name {name}'
        '\n  Or download one: ./pretrained.sh, then pass --gpt_loadpath gpt/pretrained'
    )
