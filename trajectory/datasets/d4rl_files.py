"""D4RL's files: where they lie, and their download."""

import os
from pathlib import Path

from trajectory.datasets.hdf5 import check_readable, read_episodes
from trajectory.datasets.source import DataSource
from trajectory.environments.catalogue import ROBOTS, Record, d4rl_catalogue, is_task, robot_of
from trajectory.environments.spec import EnvironmentSpec
from trajectory.storage.download import download


def find_d4rl(name: str, dataset_path: str | Path | None, backend: str) -> DataSource | None:
    """D4RL's dataset of this name; None where D4RL has none.

    The name of a robot's data means D4RL's physics; mazes and kitchens are stock: `environments/robotics.py` says how
    they differ.
    """
    record = d4rl_catalogue().get(name)
    if record is None or not (robot_of(name) or is_task(name)):
        return None
    id, physics = (f'{ROBOTS[robot_of(name)]}-v4', 'd4rl') if robot_of(name) else (name, 'stock')
    path = Path(dataset_path) if dataset_path is not None else d4rl_folder() / record.file
    words = f'D4RL {name}' if dataset_path is None else path.name
    spec = EnvironmentSpec(id, physics, name, data_source=words, backend=backend)
    return DataSource(name, spec, path, lambda: read_episodes(path if path.exists() else fetch(record, path)))


def locate(name: str) -> Path | None:
    """Where the file of a D4RL dataset lies, or would lie; None for other names."""
    return d4rl_folder() / d4rl_catalogue()[name].file if name in d4rl_catalogue() else None


def d4rl_folder() -> Path:
    """Where D4RL keeps its files: `$D4RL_DATASET_DIR`, else `~/.d4rl/datasets`."""
    return Path(os.environ.get('D4RL_DATASET_DIR') or '~/.d4rl/datasets').expanduser()


def fetch(record: Record, path: Path) -> Path:
    """The file of a D4RL dataset, downloaded to `path` if it is not there yet, and verified.

    It comes from D4RL's host, or from the one that `D4RL_MIRROR` puts in its place: `https://host/folder`, to which the
    file's name is added; or several such, which are asked in turn. Where size and checksum are not known, all that the
    file holds is read once.
    """
    mirrors = os.environ.get('D4RL_MIRROR', '').split()
    urls = [f'{mirror.rstrip("/")}/{record.file}' for mirror in mirrors] or [record.url]
    return download(
        urls,
        path,
        what=record.name,
        remedy=explain_missing(path, record),
        n_bytes=record.bytes,
        sha256=record.sha256,
        check=None if record.sha256 else check_readable,
    )


def explain_missing(path: Path, record: Record) -> str:
    """What to fetch, and where to put it."""
    facts = f' ({record.bytes:,} bytes, sha256 {record.sha256})' if record.sha256 else ''
    return (
        f'  Where there is a network, fetch {record.url}{facts}\n'
        f'  and put it here: {path}; or set D4RL_DATASET_DIR to the folder that holds {record.file};\n'
        '  or name a host that has a copy: D4RL_MIRROR=https://host/folder; or pass --dataset_path FILE.hdf5'
    )
