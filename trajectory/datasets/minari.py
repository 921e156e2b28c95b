"""Learn from Minari's datasets: `minari:<id>` names one, and its own environment is the one that plans act in.

Observations and actions must be rows of numbers (`Box`); dictionaries of them, as mazes and kitchens have, are refused.
"""

import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from trajectory.datasets.hdf5 import COLUMNS, check_columns
from trajectory.datasets.source import DataSource
from trajectory.environments.spec import EnvironmentSpec
from trajectory.storage.download import file_lock
from trajectory.utils.errors import InputError

PREFIX = 'minari:'
OF_PICTURES = {
    'render_mode',
    'width',
    'height',
    'camera_id',
    'camera_name',
    'default_camera_config',
    'max_geom',
    'visual_options',
}  # settings of an environment that change nothing in it


def is_minari(name: str) -> bool:
    return name.startswith(PREFIX)


def find_minari(name: str, dataset_path: Path | None, backend: str) -> DataSource | None:  # noqa: ARG001
    """The dataset `minari:<id>`, in its own environment with stock physics and its settings; None for other names."""
    if not is_minari(name):
        return None
    if dataset_path is not None:
        raise InputError(
            f"{name} names Minari's data, and {dataset_path} other.\n  Leave out --dataset_path, or "
            'name the dataset otherwise.'
        )
    dataset = _open(name)
    spec = dataset.env_spec
    if spec is None:
        raise InputError(
            f'{name} does not say which environment it was recorded in.\n'
            '  Record it with one, or bring it over: python scripts/import_data.py --help'
        )
    if spec.additional_wrappers:
        wrappers = ', '.join(wrapper.name for wrapper in spec.additional_wrappers)
        raise InputError(
            f'{name} was recorded in {spec.id} through {wrappers}, which are not made here.\n  Record it without them.'
        )
    settings = {key: value for key, value in spec.kwargs.items() if key not in OF_PICTURES}
    if spec.max_episode_steps is not None:
        settings['max_episode_steps'] = spec.max_episode_steps
    spec = EnvironmentSpec(spec.id, 'stock', name, settings, _read_references(dataset), f'Minari {dataset.id}')
    return DataSource(name, spec, read=lambda: read_minari(name))


def read_minari(name: str) -> dict[str, np.ndarray]:
    """The recorded steps in D4RL's layout: terminations as `terminals`, truncations as `timeouts`.

    An episode that neither ended is marked as timed out at its last step; its last observation is left out.
    """
    dataset = _open(name)
    try:
        columns = _lay_end_to_end(dataset.iterate_episodes())
    except Exception as error:  # damaged files make the readers raise nearly anything
        raise InputError(_damaged(name, error)) from error
    if violations := check_columns(columns):
        raise InputError(f'{name}: {violations[0].text}.\n  {violations[0].remedy}')
    return columns


def _lay_end_to_end(episodes):
    parts = {name: [np.empty((0,) * rank, dtype=np.float32)] for name, rank in COLUMNS.items()}
    for number, episode in enumerate(episodes):
        timeouts = np.array(episode.truncations, dtype=bool)
        timeouts[-1:] |= ~np.asarray(episode.terminations, dtype=bool)[-1:]
        for name, values in zip(
            COLUMNS,
            (episode.observations[: len(episode)], episode.actions, episode.rewards, episode.terminations, timeouts),
            strict=True,
        ):
            if number == 0:
                parts[name].clear()
            parts[name].append(np.asarray(values, dtype=bool if name in ('terminals', 'timeouts') else np.float32))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _open(name):
    """The dataset, fetched if it is not on this machine."""
    try:
        import minari
        from minari.dataset.minari_dataset import parse_dataset_id
    except ImportError as error:
        raise InputError(
            f'{name} needs the package minari.\n  Install it: pip install -c constraints.txt -e .[minari]'
        ) from error
    from gymnasium.spaces import Box

    id = name.removeprefix(PREFIX)
    remedy = (
        f'  See what there is: minari list remote. Where there is a network, minari download {id}, and put it '
        f'here: {_folder(id)};\n  or set MINARI_DATASETS_PATH to the folder that holds it.'
    )
    try:
        parse_dataset_id(id)
        is_fixed = _folder(id).exists() and not os.access(_folder(id).parent, os.W_OK)  # nobody is fetching it
        with nullcontext() if is_fixed else file_lock(_folder(id), name, remedy):
            dataset = minari.load_dataset(id, download=True)
    except InputError:
        raise
    except Exception as error:  # each host, and each damage, has its own
        if _folder(id).exists():
            raise InputError(_damaged(name, error)) from error
        raise InputError(f'{name} cannot be had: {_first_line(error)}\n{remedy}') from error
    for what, space in (('observations', dataset.observation_space), ('actions', dataset.action_space)):
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise InputError(
                f'the {what} of {name} are {_describe(space)}, expected rows of numbers, a Box.\n'
                '  Bring over the columns to learn from: python scripts/import_data.py --help'
            )
    return dataset


def _folder(id):
    return Path(os.environ.get('MINARI_DATASETS_PATH') or '~/.minari/datasets').expanduser() / id


def _damaged(name, error):
    folder = _folder(name.removeprefix(PREFIX))
    return f'{name} cannot be read: {_first_line(error)}\n  Delete {folder}, and give the same command again.'


def _first_line(error):
    return str(error).strip().partition('\n')[0] or type(error).__name__


def _describe(space):
    inside = getattr(space, 'spaces', None)
    return (
        f'a {type(space).__name__}'
        + (f' of {", ".join(map(str, inside))}' if isinstance(inside, dict) else '')
        + (f' of shape {space.shape}' if space.shape and len(space.shape) != 1 else '')
    )


def _read_references(dataset):
    """The returns that the dataset scores 0 and 1, where it has both."""
    low, high = (dataset.storage.metadata.get(f'ref_{end}_score') for end in ('min', 'max'))
    return None if low is None or high is None or not float(low) < float(high) else (float(low), float(high))
