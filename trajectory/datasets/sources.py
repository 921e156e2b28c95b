"""Find a dataset by name: one registry of sources. A new source is a function in `SOURCES`."""

import contextlib
import difflib
import json
import re
from pathlib import Path

from trajectory.datasets.d4rl_files import find_d4rl, locate
from trajectory.datasets.hdf5 import read_episodes, read_metadata
from trajectory.datasets.minari import find_minari, is_minari
from trajectory.datasets.source import DataSource
from trajectory.environments.catalogue import d4rl_catalogue
from trajectory.environments.spec import EnvironmentSpec
from trajectory.utils.errors import InputError

BUNDLED = Path(__file__).parents[2] / 'data'  # recorded with scripts/collect.py
GYMNASIUM_ID = r'[A-Z]\w*-v\d+'


def find_file(name: str, dataset_path: Path | None, backend: str) -> DataSource | None:
    """A file of our HDF5 layout that says which environment it was recorded in; None where it does not.

    It is taken at its word: `metadata/env`, with the physics of `metadata/physics`, or stock.
    """
    bundled = BUNDLED / f'{name}.hdf5'
    path = dataset_path or locate(name) or (bundled if bundled.exists() else None)
    metadata = read_metadata(path) if path is not None and path.exists() else {}
    if 'env' not in metadata:
        return None
    spec = EnvironmentSpec(
        metadata['env'],
        metadata.get('physics', 'stock'),
        name,
        backend=backend,
        data_source=_sources(metadata) or path.name,
    )
    return DataSource(name, spec, path, lambda: read_episodes(path))


def find_gymnasium(name: str, dataset_path: Path | None, backend: str) -> DataSource | None:
    """A stock environment of Gymnasium by its id, with the file that was named, if any."""
    if not re.fullmatch(GYMNASIUM_ID, name):
        return None
    spec = EnvironmentSpec(name, 'stock', name, backend=backend, data_source=dataset_path and dataset_path.name)
    return DataSource(name, spec, dataset_path, dataset_path and (lambda: read_episodes(dataset_path)))


# asked in turn with (name, dataset_path, backend); the first that does not answer None has the dataset
SOURCES = (find_minari, find_file, find_d4rl, find_gymnasium)


def find_source(name: str, dataset_path: str | Path | None = None, backend: str = 'mujoco') -> DataSource:
    """The dataset of this name, with its environment; nothing is read but a file's metadata.

    name         : a D4RL dataset (`hopper-medium-v2`), a dataset under `data/`, a Gymnasium id (`Hopper-v4`), or one of
                   Minari's (`minari:mujoco/hopper/medium-v0`)
    dataset_path : the HDF5 file, where it is not the one that the name stands for
    backend      : `mujoco` for today's simulator, `d4rl` for D4RL's own environments, where they are installed
    """
    path = None if dataset_path is None else Path(dataset_path)
    if path is not None and not path.is_file() and not is_minari(name):
        raise InputError(f'{path} is not there.\n  Check the path after --dataset_path.')
    for find in SOURCES:
        if (source := find(name, path, backend)) is not None:
            source.spec.check()
            return source
    if path is not None:
        raise InputError(
            f"{path} does not say which environment it was recorded in (metadata/env), and '{name}' is no "
            'D4RL name.\n  Add metadata/env = Hopper-v4, say, or name the dataset as D4RL does: '
            '--dataset hopper-medium-v2'
        )
    raise InputError(
        f'{_unknown(name)}\n  Your own: --dataset NAME --dataset_path FILE.hdf5; of Minari: --dataset minari:ID'
    )


def load_environment(name: str, dataset_path: str | Path | None = None, backend: str = 'mujoco'):
    """The environment that a dataset belongs to, an `OfflineEnvironment`; see `find_source` for the arguments."""
    return find_source(name, dataset_path, backend).make()


def find_run(logbase: str, dataset: str, name: str) -> tuple[Path, str, str]:
    """Where the run of this name lies: under `logbase`, or among the models that come with the bundled data.

    returns : logbase, dataset, name, which joined are its folder
    """
    if Path(logbase, dataset, name).is_dir():
        return Path(logbase), dataset, name
    if (BUNDLED / dataset / name).is_dir():
        return BUNDLED, dataset, name
    has_runs = Path(logbase, dataset).is_dir() or (BUNDLED / dataset).is_dir()
    if not has_runs and dataset not in {*d4rl_catalogue(), *known_names()}:
        raise InputError(f'{_unknown(dataset)}\n  Nor is there a run on data of that name in {logbase}.')
    return Path(logbase), dataset, name


def known_names() -> list[str]:
    """Every dataset that `find_source` can serve by name."""
    return [*d4rl_catalogue(), *(path.stem for path in BUNDLED.glob('*.hdf5'))]


def _sources(metadata):
    """What a file says of where its episodes come from, in one line."""
    said = metadata.get('sources', '')
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(said)
    return ', '.join(map(str, said)) if isinstance(said, list) else str(said)


def _unknown(name):
    close = difflib.get_close_matches(name, known_names(), n=1)
    meant = f'; did you mean {close[0]}?' if close else '.'
    return f"unknown dataset '{name}'{meant}\n  There are {', '.join(sorted(known_names()))}."
