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

from .errors import InputError


def mkdir(path) -> Path:
    """Make the folder `path` and its parents; one that is there already is fine."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'cannot make the folder {path}: {error.strerror}.\n  Choose another place with --logbase.'
        ) from error
    return path

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
    except ValueError as error:     # not JSON, or not even text
        raise InputError(
            f'{path} is not valid JSON: {error}.\n  Restore the file, or run the script that writes it.'
        ) from error


def load_args(*loadpath) -> Namespace:
    """Return the settings that the run in this folder was started with."""
    return Namespace(**read_json(Path(*loadpath) / 'args.json'))


def load_config(*loadpath):
    """Return the saved recipe: `x.json`, or in its absence the `x.pkl` that the original code wrote."""
    from .config import Config  # which writes its files with the functions above

    path = Path(*loadpath)
    published = path.with_suffix('.pkl')
    return Config.load(published if published.exists() and not path.exists() else path)


def load_from_config(*loadpath):
    """Build what the saved recipe describes."""
    return load_config(*loadpath)()


def get_latest_epoch(*loadpath) -> int:
    """Return the largest n of the `state_<n>.pt` in this folder."""
    epochs = _epochs(Path(*loadpath))
    if not epochs:
        raise InputError(f'{Path(*loadpath)} holds no state_*.pt.{_remedy(loadpath)}')
    return epochs[-1]


def load_model(*loadpath, epoch='latest', device='cpu'):
    """Build the model of a run and give it the weights it had after `epoch` epochs.

    returns : the model, in evaluation mode on `device`, and the epoch
    """
    folder = Path(*loadpath)
    if not any((folder / f'model_config.{ending}').exists() for ending in ('json', 'pkl')):
        raise InputError(f'{folder} holds no model_config.json. {_contents(folder)}{_remedy(loadpath)}')
    if epoch in ('latest', None):
        epoch = get_latest_epoch(folder) if _epochs(folder) else get_latest_epoch(*loadpath)
    elif epoch not in _epochs(folder):
        present = ', '.join(map(str, _epochs(folder))) or 'none'
        raise InputError(
            f'{folder} holds no state_{epoch}.pt; the epochs there are: {present}.\n'
            '  Pass one of them with --gpt_epoch, or --gpt_epoch latest.'
        )

    path = folder / f'state_{epoch}.pt'
    weights = _read_weights(path, device)
    model = load_from_config(folder, 'model_config.json')
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f'{path} does not fit the model that model_config.json beside it describes.\n'
            f'{error}\n  Were the two copied from different runs? Restore the pair, or train again.'
        ) from error
    return model.to(device).eval(), epoch

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


def _read_weights(path: Path, device) -> dict:
    """Read a state dict without running anything that the file may ask for."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if part := archive.testzip():       # torch itself ignores the checksums
                    raise zipfile.BadZipFile(f'the checksum of {part} is wrong')
        weights = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:      # cut or flipped bytes make the readers raise nearly anything
        reason = str(error).partition('\n')[0] or type(error).__name__
        raise InputError(
            f'{path} cannot be read as weights: {reason}\n'
            '  It may be cut short: copy or download it again, or pass an earlier --gpt_epoch.'
        ) from error
    if not isinstance(weights, dict) or not all(torch.is_tensor(value) for value in weights.values()):
        raise InputError(
            f'{path} holds a {type(weights).__name__}, not a state dict of tensors.\n'
            '  Write it with torch.save(model.state_dict(), path).'
        )
    return weights


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
