"""A run's folder has one owner while it is written, and its results carry the identity of what made them."""

import hashlib
import json
import os
import re
import socket
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch

from trajectory.utils.errors import InputError
from trajectory.utils.files import delete_files, mkdir, read_json, write_json

LOCK, OWNER = '.lock', '.owner.json'
FINISHED = 'finished.json'  # of a training: written at its end
ASIDE = {  # of a training's settings: what says which repetition it is, and what changes nothing in it
    *('seed', 'exp_name', 'savepath', 'logbase', 'dataset_path', 'commit', 'versions', 'config', 'experiment', 'debug'),
    *('restart', 'device', 'threads', 'n_saves', 'log_freq', 'save_minutes', 'save_steps', 'tensorboard', 'wandb'),
    *('tokens_on', 'compile', 'eval_every', 'eval_episodes', 'eval_steps'),
}
PLAN_FILES = re.compile(
    r'rollout\.(json|mp4|png)|timing\.json|searches\.(npz|png|html)|\d+_plan\.(mp4|png)'
)  # what an episode leaves


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
        raise InputError(
            f'{folder} is being written by {_owner(folder)}.\n'
            '  Wait until it has ended, or choose another folder: --exp_name, or --suffix.'
        ) from error
    except OSError as error:
        raise InputError(
            f'cannot write to {folder}: {error.strerror or error}.\n'
            '  Open the folder, or choose another place with --logbase.'
        ) from error
    try:
        write_json(
            folder / OWNER,
            {'pid': os.getpid(), 'host': socket.gethostname(), 'since': time.strftime('%Y-%m-%d %H:%M:%S')},
        )
        yield folder
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        (folder / LOCK).unlink(missing_ok=True)  # still held: who waits sees that it is gone
        lock.release()
        with suppress(OSError):
            folder.rmdir()  # nothing was written


def _owner(folder):
    try:
        owner = json.loads((folder / OWNER).read_text(encoding='utf-8'))
        return f'process {owner["pid"]} on {owner["host"]}, since {owner["since"]}'
    except (OSError, ValueError, KeyError, TypeError):
        return 'another process'


def clear_plan(folder) -> None:
    """Delete what an earlier plan left in an episode's folder."""
    delete_files(path for path in Path(folder).iterdir() if PLAN_FILES.fullmatch(path.name))


def hash_file(path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; computed again only when the file has changed."""
    stat = Path(path).stat()
    return _hash(str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@cache
def _hash(path, _inode, _size, _changed):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def hash_model(weights: dict, *arrays: np.ndarray) -> str:
    """Identity of a model: of its weights, whatever file they are from, and of arrays that it acts by, as bins."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f'{name} {value.dtype} {list(value.shape)}'.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def hash_recipe(folder) -> str | None:
    """Identity of how a run was trained: its settings but for the seed, and its data; None where nothing tells.

    Models of one recipe are repetitions, and their results may be averaged.
    """
    try:
        settings, source = (read_json(Path(folder, name)) for name in ('args.json', 'source.json'))
    except InputError:
        return None
    if not isinstance(settings, dict) or not isinstance(source, dict):
        return None
    kept = {name: value for name, value in settings.items() if name not in ASIDE}
    text = json.dumps([kept, source.get('dataset_sha256')], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity_of(model: str, settings: dict) -> str:
    """Identity of a result: of the model, or the recipe, that made it and of the settings that change it."""
    text = json.dumps({'model': model, 'settings': settings}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
