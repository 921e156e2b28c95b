"""Find a data set and its environment by name, the way D4RL names them."""
import contextlib
import difflib
import json
import os
import re
from pathlib import Path

import numpy as np

from trajectory.datasets.hdf5 import check_readable, read_metadata
from trajectory.datasets.minari import is_minari, load_minari_environment
from trajectory.environments.catalogue import ROBOTS, Record, d4rl_catalogue, is_task, robot_of
from trajectory.storage.download import download
from trajectory.utils.errors import InputError

BUNDLED = Path(__file__).parents[2] / 'data'  # recorded with scripts/collect.py
GYMNASIUM_ID = r'[A-Z]\w*-v\d+'


@contextlib.contextmanager
def suppress_output():
    """Silence what is printed, by compiled code too, for as long as this lasts."""
    with open(os.devnull, 'w') as nowhere, contextlib.ExitStack() as stack:
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, descriptor)
            os.dup2(nowhere.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield


def load_environment(name: str, dataset_path: str | Path | None = None, backend: str = 'mujoco'):
    """The environment that a data set belongs to, an `OfflineEnvironment`.

    name         : a D4RL data set (`hopper-medium-v2`), a data set under `data/`, a Gymnasium id (`Hopper-v4`), or one
                   of Minari's (`minari:mujoco/hopper/medium-v0`)
    dataset_path : the HDF5 file, where it is not the one that the name stands for
    backend      : `mujoco` for today's simulator, `d4rl` for D4RL's own environments, where they are installed

    A file that names its environment (`metadata/env`) is taken at its word: with the physics it names
    (`metadata/physics`), or stock. A D4RL name means D4RL's physics, but for the mazes and kitchens, which are stock:
    `trajectory/environments/robotics.py` says how they differ.
    """
    if backend == 'd4rl':
        from trajectory.environments.d4rl_gym import make_old_environment

        return make_old_environment(name, dataset_path)
    from trajectory.environments.offline import make_environment

    if is_minari(name):
        if dataset_path is not None:
            raise InputError(f"{name} names Minari's data, and {dataset_path} other.\n  Leave out --dataset_path, or "
                             'name the data set otherwise.')
        return load_minari_environment(name)
    path = find_file(name, dataset_path)
    metadata = read_metadata(path) if path is not None and path.exists() else {}
    if 'env' in metadata:
        env = make_environment(metadata['env'], metadata.get('physics', 'stock'), name, path)
        env.data_source = _sources(metadata) or path.name
        return env
    if robot_of(name) and name in d4rl_catalogue():
        env = make_environment(f'{ROBOTS[robot_of(name)]}-v4', 'd4rl', name, path)
        env.data_source = f'D4RL {name}' if dataset_path is None else path.name
        return env
    if is_task(name):
        env = make_environment(name, 'stock', name, path)
        env.data_source = f'D4RL {name}' if dataset_path is None else path.name
        return env
    if re.fullmatch(GYMNASIUM_ID, name):
        env = make_environment(name, 'stock', name, path)
        env.data_source = path.name if path else None
        return env
    if path is not None:
        raise InputError(f"{path} does not say which environment it was recorded in (metadata/env), and '{name}' is no "
                         'D4RL name.\n  Add metadata/env = Hopper-v4, say, or name the data set as D4RL does: '
                         '--dataset hopper-medium-v2')
    raise InputError(f'{_unknown(name)}\n  Your own: --dataset NAME --dataset_path FILE.hdf5; '
                     'of Minari: --dataset minari:ID')


def find_file(name: str, dataset_path: str | Path | None = None) -> Path | None:
    """Where the recorded data of this name lies, or would lie; None where a name stands for no file."""
    if dataset_path is not None:
        if not Path(dataset_path).is_file():
            raise InputError(f'{dataset_path} is not there.\n  Check the path after --dataset_path.')
        return Path(dataset_path)
    if name in d4rl_catalogue():
        return d4rl_folder() / d4rl_catalogue()[name].file
    bundled = BUNDLED / f'{name}.hdf5'
    return bundled if bundled.exists() else None


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


def d4rl_folder() -> Path:
    """Where D4RL keeps its files: `$D4RL_DATASET_DIR`, else `~/.d4rl/datasets`."""
    return Path(os.environ.get('D4RL_DATASET_DIR') or '~/.d4rl/datasets').expanduser()


def known_names() -> list[str]:
    """Every data set that `load_environment` can serve by name."""
    return [*d4rl_catalogue(), *(path.stem for path in BUNDLED.glob('*.hdf5'))]


def fetch(record: Record, path: Path) -> Path:
    """The file of a D4RL data set, downloaded to `path` if it is not there yet, and verified.

    It comes from D4RL's host, or from the one that `D4RL_MIRROR` puts in its place: `https://host/folder`, to which the
    file's name is added; or several such, which are asked in turn. Where size and checksum are not known, all that the
    file holds is read once.
    """
    mirrors = os.environ.get('D4RL_MIRROR', '').split()
    urls = [f'{mirror.rstrip("/")}/{record.file}' for mirror in mirrors] or [record.url]
    return download(urls, path, what=record.name, remedy=explain_missing(path, record), n_bytes=record.bytes,
                    sha256=record.sha256, check=None if record.sha256 else check_readable)


def explain_missing(path: Path, record: Record) -> str:
    """What to fetch, and where to put it."""
    facts = f' ({record.bytes:,} bytes, sha256 {record.sha256})' if record.sha256 else ''
    return (f'  Where there is a network, fetch {record.url}{facts}\n'
            f'  and put it here: {path}; or set D4RL_DATASET_DIR to the folder that holds {record.file};\n'
            '  or name a host that has a copy: D4RL_MIRROR=https://host/folder; or pass --dataset_path FILE.hdf5')


def qlearning_dataset_with_timeouts(env, dataset: dict | None = None, terminate_on_end: bool = False) -> dict:
    """Recorded steps as transitions; the very last row, which has no successor, is dropped.

    dataset          : observations, actions, rewards, terminals, timeouts; by default `env.get_dataset()`
    terminate_on_end : True keeps the step at which the clock ran out, and marks it in `terminals`; False drops it
    returns          : observations, actions, next_observations [ steps x d ]; rewards, terminals (fell, or clock ran
                       out), realterminals (fell) [ steps x 1 ]

    The `next_observations` of an episode's last step is the first observation of the next episode.
    """
    dataset = env.get_dataset() if dataset is None else dataset
    fell, clock = (np.asarray(dataset[key][:-1], dtype=bool) for key in ('terminals', 'timeouts'))
    kept = slice(None) if terminate_on_end else ~clock
    return {
        'observations': np.asarray(dataset['observations'][:-1], dtype=np.float32)[kept],
        'actions': np.asarray(dataset['actions'][:-1], dtype=np.float32)[kept],
        'next_observations': np.asarray(dataset['observations'][1:], dtype=np.float32)[kept],
        'rewards': np.asarray(dataset['rewards'][:-1], dtype=np.float32)[kept, None],
        'terminals': (fell | clock)[kept, None],
        'realterminals': fell[kept, None],
    }


def _sources(metadata):
    """What a file says of where its episodes come from, in one line."""
    said = metadata.get('sources', '')
    with contextlib.suppress(ValueError):
        said = json.loads(said)
    return ', '.join(map(str, said)) if isinstance(said, list) else str(said)


def _unknown(name):
    close = difflib.get_close_matches(name, known_names(), n=1)
    meant = f'; did you mean {close[0]}?' if close else '.'
    return f"unknown data set '{name}'{meant}\n  There are {', '.join(sorted(known_names()))}."
