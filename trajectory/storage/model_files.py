"""Files of shared models: safetensors, the Hugging Face Hub, and folders that appear whole or not at all."""

import re
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path

from trajectory.storage.weights import check_weights, read_weights
from trajectory.utils.errors import InputError
from trajectory.utils.files import mkdir, write_atomically

FILES = ('config.json', 'model.safetensors', 'pytorch_model.bin', 'discretizer.npz', 'source.json')


def read_folder_weights(folder: Path) -> tuple[dict, Path]:
    """The weights of a folder with a config.json, and the file they are from."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / 'model.safetensors'
    if not path.exists():
        older = folder / 'pytorch_model.bin'
        if not older.exists():
            raise InputError(
                f'{folder} holds neither model.safetensors nor pytorch_model.bin.\n  Copy or download it again.'
            )
        return read_weights(older), older
    try:
        return check_weights(load_file(path), path), path
    except (SafetensorError, OSError, RuntimeError, TypeError, KeyError) as error:
        raise InputError(
            f'{path} cannot be read as weights: {error}\n  It may be cut short: copy or download it again.'
        ) from error


def download_model(name: str, revision: str | None = None) -> Path:
    """A folder with the files of `owner/name`, as they are on the Hub."""
    if not re.fullmatch(r'[\w.-]+/[\w.-]+', name):
        raise InputError(f'there is no folder {name}, and it is no name on the Hub, owner/name.\n  Check the path.')
    hub = import_hub()
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=FILES))
    except (OSError, ValueError) as error:
        raise InputError(
            f'there is no folder {name}, and the Hub has no such model, or is out of reach: {error}\n'
            '  Check the path, or the name on the Hub: owner/name.'
        ) from error


def import_hub():
    """The package huggingface_hub, or how to install it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            'the Hub needs the package huggingface_hub.\n  Install it: pip install -c constraints.txt -e .[hub]'
        ) from error
    return huggingface_hub


def save_safetensors(weights: dict, folder: Path) -> None:
    """Write `model.safetensors`, which `transformers` reads."""
    from safetensors.torch import save_file

    weights = {name: value.contiguous().cpu() for name, value in weights.items()}
    with write_atomically(folder / 'model.safetensors') as partial:
        save_file(weights, partial, metadata={'format': 'pt'})  # without which `transformers` refuses it


@contextmanager
def write_folder(folder):
    """Yield a new folder to write to, which becomes `folder` once all is written, and vanishes if anything fails."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f'{folder} is there already, and nothing in it is written over.\n  Name a new folder.')
    partial = folder.absolute().parent / f'.{secrets.token_hex(4)}.{folder.name}'
    mkdir(partial, flag='--target')
    try:
        yield partial
        partial.rename(folder)  # takes the place of an empty folder
    finally:
        shutil.rmtree(partial, ignore_errors=True)
