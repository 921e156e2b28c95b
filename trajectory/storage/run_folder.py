"""A run's folder has one owner while it is written, and its results carry the identity of what made them."""
import hashlib
import json
import os
import re
import socket
import time
from contextlib import contextmanager
from pathlib import Path

from trajectory.storage.serialization import mkdir, write_json
from trajectory.utils.errors import InputError

LOCK, OWNER = '.lock', '.owner.json'
PLAN_FILES = re.compile(r'rollout\.(json|mp4|png)|timing\.json|\d+_plan\.(mp4|png)')   # what an episode leaves


@contextmanager
def lock_folder(folder):
    """Own a run's folder for as long as this lasts; InputError names the process that owns it already."""
    from filelock import FileLock, Timeout

    folder = Path(folder)
    mkdir(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f'{folder} is being written by {_owner(folder)}.\n'
                         '  Wait until it has ended, or choose another folder: --exp_name, or --suffix.') from error
    except OSError as error:
        raise InputError(f'cannot write to {folder}: {error.strerror or error}.\n'
                         '  Open the folder, or choose another place with --logbase.') from error
    try:
        write_json(folder / OWNER, {'pid': os.getpid(), 'host': socket.gethostname(),
                                    'since': time.strftime('%Y-%m-%d %H:%M:%S')})
        yield folder
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        (folder / LOCK).unlink(missing_ok=True)     # still held: who waits sees that it is gone
        lock.release()


def _owner(folder):
    try:
        owner = json.loads((folder / OWNER).read_text(encoding='utf-8'))
        return f'process {owner["pid"]} on {owner["host"]}, since {owner["since"]}'
    except (OSError, ValueError, KeyError, TypeError):
        return 'another process'


def clear_plan(folder) -> None:
    """Delete what an earlier plan left in an episode's folder."""
    for path in Path(folder).iterdir():
        if PLAN_FILES.fullmatch(path.name):
            path.unlink()


def hash_file(path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') else _digest(file)


def _digest(file):
    digest = hashlib.sha256()
    while block := file.read(2 ** 20):
        digest.update(block)
    return digest.hexdigest()


def hash_model(weights_path, discretizer) -> str:
    """Identity of a model: of its weights' file, and of the edges of its bins."""
    edges = hashlib.sha256(discretizer.thresholds.tobytes()).hexdigest()
    return hashlib.sha256((hash_file(weights_path) + edges).encode()).hexdigest()[:16]


def identity_of(model: str, settings: dict) -> str:
    """Identity of a result: of the model that made it and of the settings that change it."""
    text = json.dumps({'model': model, 'settings': settings}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
