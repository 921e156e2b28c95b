"""Weights of a run: `state_<epoch>.pt`, written whole, and read without running anything a file may ask for."""

import io
import re
import zipfile
from pathlib import Path

import torch

from trajectory.utils.errors import InputError, shorten
from trajectory.utils.files import check_regular, write_atomically

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_state(model, path):
    """Write the weights of `model`, and nothing else, where `load_model` finds them."""
    save_tensors(model.state_dict(), path)


def save_tensors(state: dict, path):
    """Write tensors, numbers and names in lists and dicts; `torch.load(path, weights_only=True)` reads them."""
    buffer = io.BytesIO()  # torch's own writer does not say why a disk refuses
    torch.save(state, buffer)
    with write_atomically(path) as partial:
        partial.write_bytes(buffer.getbuffer())


def get_latest_epoch(*loadpath) -> int:
    """Return the largest n of the `state_<n>.pt` in this folder."""
    epochs = list_epochs(Path(*loadpath))
    if not epochs:
        raise InputError(f'{Path(*loadpath)} holds no state_*.pt.{how_to_get_a_model(loadpath)}')
    return epochs[-1]


def pick_epoch(folder: Path, epoch='latest', flag='--epoch') -> tuple[int, Path]:
    """An epoch whose weights a folder holds, and their file.    flag : with which the user chose the epoch"""
    if epoch in ('latest', None):
        epoch = get_latest_epoch(folder)
    elif epoch not in list_epochs(folder):
        present = ', '.join(map(str, list_epochs(folder))) or 'none'
        raise InputError(
            f'{folder} holds no state_{epoch}.pt; the epochs there are: {present}.\n'
            f'  Pass one of them with {flag}, or {flag} latest.'
        )
    return epoch, folder / f'state_{epoch}.pt'


def load_tensors(path: Path):
    """What `save_tensors` wrote; nothing that the file may ask for is run, and its checksums are compared.

    Raises what torch and zipfile raise of a file that is none, and InputError of one that is not a regular file.
    """
    check_regular(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise zipfile.BadZipFile('it is compressed, as torch.save never does')
            if part := archive.testzip():  # torch itself ignores the checksums
                raise zipfile.BadZipFile(f'the checksum of {part} is wrong')
    return torch.load(path, map_location='cpu', weights_only=True)


def read_weights(path: Path) -> dict:
    """Read a state dict."""
    try:
        weights = load_tensors(path)
    except InputError:
        raise
    except Exception as error:  # cut or flipped bytes make the readers raise nearly anything
        raise InputError(
            f'{path} cannot be read as weights: {why_unreadable(error)}\n'
            '  It may be cut short: copy or download it again, or take an earlier epoch.'
        ) from error
    if not isinstance(weights, dict) or not all(torch.is_tensor(value) for value in weights.values()):
        raise InputError(
            f'{path} holds a {type(weights).__name__}, not a state dict of tensors.\n'
            '  Write it with torch.save(model.state_dict(), path).'
        )
    return check_weights(weights, path)


def build_with_weights(make, weights: dict, path: Path):
    """A network with these weights, in 32 bits; nothing is allocated for what they do not hold.

    make : returns the network that the record beside them describes    path : the weights' file
    """
    try:
        with torch.device('meta'):
            model = make()
        model.load_state_dict(weights, assign=True)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f'{path} does not fit the recipe beside it: {shorten(error, 500)}\n  Restore the pair, or train again.'
        ) from error
    return model.float()


def check_weights(weights: dict, path: Path) -> dict:
    """Return the weights, if their names are text and they are ordinary numbers."""
    for name, value in weights.items():
        if not isinstance(name, str) or not name.isprintable():
            raise InputError(
                f'{path}: a tensor is named {name!r:.60}; expected the name of a parameter.\n'
                '  Write it with torch.save(model.state_dict(), path).'
            )
        is_plain = value.layout == torch.strided and value.dtype in FLOATS and value.device.type == 'cpu'
        # an expanded tensor shows one stored number as many
        if value.is_nested or not is_plain or value.nbytes > value.untyped_storage().nbytes():
            shape = 'nested' if value.is_nested else list(value.shape)
            raise InputError(
                f'{path}: {name} is no ordinary tensor of floating-point numbers but {value.dtype}, '
                f'{value.layout}, {shape}.\n  Convert it to float32, or copy or download it again.'
            )
        if not value.isfinite().all():
            raise InputError(
                f'{path}: {name} holds numbers that are not finite.\n'
                '  Copy or download it again, or take an earlier epoch.'
            )
    return weights


def why_unreadable(error) -> str:
    """What is wrong with a file of weights, in a line: not torch's advice to trust it."""
    if asked := re.search(r'GLOBAL ([\w.]+)', str(error)):
        return f'it asks for {asked[1]}, which no weights need; nothing of it was run.'
    detail = re.search('WeightsUnpickler error: (.*)', str(error))
    return (detail[1] if detail else str(error).partition('\n')[0]) or type(error).__name__


def list_epochs(folder: Path) -> list[int]:
    """The n of the `state_<n>.pt` in a folder, rising."""
    names = [re.fullmatch(r'state_(\d+)\.pt', path.name) for path in folder.glob('state_*.pt')]
    return sorted(int(name[1]) for name in names if name)


def how_to_get_a_model(loadpath) -> str:
    """Say how to get a model; scripts load it from `logbase, dataset, gpt_loadpath`."""
    _, dataset, name = loadpath if len(loadpath) == 3 else (None, 'DATASET', 'NAME')
    return (
        f'\n  Train one:       python scripts/train.py --dataset {dataset} --exp_name {name}'
        '\n  Or download one: ./pretrained.sh, then pass --gpt_loadpath gpt/pretrained'
    )
