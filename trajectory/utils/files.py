"""Small files, written whole or not at all, and read whole."""

import json
import os
import re
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError

MAX_JSON_BYTES = 2**24


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
    return InputError(
        f'cannot write {path}: {error.strerror or error}; {kept}.\n'
        '  Free some space or open the folder, and give the same command again.'
    )


def delete_files(paths):
    """Delete these files, those that are there; InputError names the first that cannot be deleted."""
    for path in paths:
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(
                f'cannot delete {path}: {error.strerror or error}.\n'
                '  Open the folder for writing or move that away, and give the same command again.'
            ) from error


def remove_partials(folder):
    """Delete what writers left that were killed at work."""
    delete_files(path for path in Path(folder).glob('.*') if re.match(r'\.[0-9a-f]{8}\.', path.name))


def write_json(path, obj):
    """Write `obj` as readable JSON; paths become text, and numpy numbers and arrays plain ones."""
    text = json.dumps(obj, indent=2, default=_plain)
    with write_atomically(path) as partial:
        partial.write_text(text + '\n', encoding='utf-8')


def check_regular(path, max_bytes: int | None = None) -> None:
    """Raise InputError for what is there but is no regular file, or is larger than what such a file can be."""
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = 'folder' if path.is_dir() else 'pipe, socket or device'
        raise InputError(f'{path} is a {kind}, expected a regular file.\n  Restore the file.')
    if max_bytes is not None and path.exists() and path.stat().st_size > max_bytes:
        raise InputError(
            f'{path} has {path.stat().st_size:,} bytes, such a file has at most {max_bytes:,}.\n  Restore the file.'
        )


def read_json(path):
    """Return what a JSON file holds."""
    path = Path(path)
    check_regular(path, MAX_JSON_BYTES)
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise InputError(f'{path} does not exist. {describe_contents(path.parent)}') from error
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}') from error
    except (ValueError, RecursionError) as error:  # not JSON, or not even text
        raise InputError(
            f'{path} is not valid JSON: {error}.\n  Restore the file, or run the script that writes it.'
        ) from error


def _plain(value):
    """Give JSON the plain twin of a value it does not know."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f'JSON has no form for {value!r}, a {type(value).__name__}')


def describe_contents(folder: Path) -> str:
    """What a folder holds, for a message about what it lacks."""
    if not folder.is_dir():
        return 'Its folder does not exist either.'
    names = sorted(path.name for path in folder.iterdir())
    shown = ', '.join(names[:12]) + (f' and {len(names) - 12} more' if len(names) > 12 else '')
    return f'Its folder holds {shown}.' if names else 'Its folder is empty.'
