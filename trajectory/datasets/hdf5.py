"""Read and write recorded episodes in D4RL's HDF5 layout, and refuse what does not fit it.

    file.hdf5
      observations  [ steps x observation_dim ]     episode after episode, end to end:
      actions       [ steps x action_dim ]
      rewards       [ steps ]                         step      0  1  2  3 | 4  5  6 | 7  8  9
      terminals     [ steps ]  the robot fell         terminal  .  .  .  X | .  .  . | .  .  .
      timeouts      [ steps ]  the clock ran out      timeout   .  .  .  . | .  .  X | .  .  .   <- cut off
      metadata/     env (a Gymnasium id), physics, and where the episodes come from
"""
import json
from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError
from trajectory.utils.serialization import write_atomically

COLUMNS = {'observations': 2, 'actions': 2, 'rewards': 1, 'terminals': 1, 'timeouts': 1}  # name: dimensions
BLOCK = 10_000      # rows that are read at a time, where none is kept

_REMEDY = f"\n  D4RL's layout needs {', '.join(COLUMNS)}: see the top of trajectory/datasets/hdf5.py."


def read_episodes(path: str | Path) -> dict[str, np.ndarray]:
    """The columns of the file, checked: same length, finite, of the right rank.

    returns : observations, actions, rewards as float32; terminals, timeouts as bool
    """
    columns = {}
    with _opened(path) as file:
        for name, rank in COLUMNS.items():
            columns[name] = _read_column(file, name, rank, path)
    _check_lengths(columns, path)
    return columns


def read_metadata(path: str | Path) -> dict[str, str]:
    """What the file says of itself under `metadata/`: `env`, `physics`, `sources`, …; empty where it says nothing."""
    import h5py

    with _opened(path) as file:
        group = file.get('metadata')
        if not isinstance(group, h5py.Group):
            return {}
        return {name: _as_text(entry[()]) for name, entry in group.items() if isinstance(entry, h5py.Dataset)}


def check_readable(path: str | Path) -> None:
    """Read all that the file holds, whatever it is, and refuse the file if any of it cannot be read."""
    import h5py

    def read(_, entry):
        if isinstance(entry, h5py.Dataset) and entry.shape:
            for start in range(0, len(entry), BLOCK):
                entry[start:start + BLOCK]
    with _opened(path) as file:
        file.visititems(read)


def write_episodes(path: str | Path, columns: dict[str, np.ndarray], metadata: dict[str, object]) -> None:
    """Write the five columns and their provenance; the file appears whole or not at all."""
    import h5py

    with write_atomically(path) as partial, h5py.File(partial, 'w') as file:
        for name in COLUMNS:
            kind = bool if name in ('terminals', 'timeouts') else np.float32
            file.create_dataset(name, data=columns[name].astype(kind), compression='gzip', compression_opts=9,
                                shuffle=True)
        for name, value in metadata.items():
            file[f'metadata/{name}'] = value if isinstance(value, str) else json.dumps(value)


class _opened:
    """A file open for reading; every way in which HDF5 gives up on its content ends as an `InputError`."""

    def __init__(self, path):
        self.path = Path(path)

    def __enter__(self):
        import h5py

        if not self.path.is_file():
            raise InputError(f'{self.path} is not there.\n  Check the path after --dataset_path.')
        try:
            self.file = h5py.File(self.path, 'r')
        except OSError as error:
            raise InputError(self._damaged(error)) from error
        return self.file

    def __exit__(self, kind, error, traceback):
        self.file.close()
        if isinstance(error, (OSError, RuntimeError)):  # what h5py raises on damaged blocks
            raise InputError(self._damaged(error)) from error

    def _damaged(self, error):
        return (f'{self.path} ({self.path.stat().st_size:,} bytes) is not a whole HDF5 file: {error}\n'
                '  It may have been cut off on its way here; copy or download it again.')


def _read_column(file, name, rank, path):
    import h5py

    column = file.get(name)
    if column is None:
        raise InputError(f"{path} has no '{name}'; it holds {', '.join(sorted(file)) or 'nothing'}.{_REMEDY}")
    if not isinstance(column, h5py.Dataset):
        raise InputError(f"{path}: '{name}' is a group, expected a column.{_REMEDY}")
    if column.dtype.kind not in 'fiub':
        raise InputError(f"{path}: '{name}' holds {column.dtype}, expected numbers.{_REMEDY}")
    values = column[()]
    if rank == 1 and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != rank or 0 in values.shape[1:]:
        expected = '[ steps ]' if rank == 1 else '[ steps x numbers ]'
        raise InputError(f"{path}: '{name}' has shape {values.shape}, expected {expected}.{_REMEDY}")
    with np.errstate(over='ignore'):  # what is too large becomes infinite
        values = values.astype(np.float32, copy=False)
    _check_finite(name, values, path)
    return values.astype(bool) if name in ('terminals', 'timeouts') else values


def _check_lengths(columns, path):
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counted = ', '.join(f'{name} {length:,}' for name, length in lengths.items())
        raise InputError(f'{path}: the columns differ in length: {counted}.\n  Every step needs one row in each.')
    if not lengths['observations']:
        raise InputError(f'{path} holds no steps.\n  Record some: python scripts/collect.py --help')


def _check_finite(name, column, path):
    bad = ~np.isfinite(column)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise InputError(f"{path}: '{name}' has {int(bad.sum()):,} values that are not finite, the first in row "
                         f'{row:,}.\n  Leave those episodes out, or repair the file.')


def _as_text(value):
    return value.decode(errors='replace') if isinstance(value, bytes) else str(value)
