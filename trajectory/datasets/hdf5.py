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
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError
from trajectory.utils.files import write_atomically

COLUMNS = {'observations': 2, 'actions': 2, 'rewards': 1, 'terminals': 1, 'timeouts': 1}  # name: dimensions
FLAGS = ('terminals', 'timeouts')
OPTIONAL = ('successes',)  # [ steps ]  of tasks that tell whether they are done, true or false
BLOCK = 10_000  # rows that are read at a time, where none is kept
MAX_UNSTORED = 2**30  # bytes that a column may have whatever the file's size
MAX_RATIO = 1032  # of a column to its file, beyond that: no gzip is denser

_LAYOUT = f"D4RL's layout needs {', '.join(COLUMNS)}: see the top of trajectory/datasets/hdf5.py."
_EPISODES = 'Leave those episodes out, or repair the file.'


@dataclass(frozen=True)
class Violation:
    """What keeps a file from being learned from, in words.

    column : it is in, where it is in one
    rows   : in which it is, rising; empty where it is in no single row
    remedy : what to do
    """

    text: str
    column: str | None = None
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    remedy: str = _LAYOUT


def read_episodes(path: str | Path) -> dict[str, np.ndarray]:
    """The columns of the file, checked: same length, finite, of the right rank.

    returns : observations, actions, rewards as float32; terminals, timeouts as bool
    """
    columns, violations = survey(path)
    if violations:
        raise InputError(f'{path}: {violations[0].text}.\n  {violations[0].remedy}')
    return {name: column.astype(bool if name in FLAGS else np.float32, copy=False) for name, column in columns.items()}


def survey(path: str | Path) -> tuple[dict[str, np.ndarray], list[Violation]]:
    """The columns that can be read, as float32 or as they are, and everything that is wrong with them."""
    columns, violations = {}, []
    with _opened(path) as file:
        for name, rank in COLUMNS.items():
            values = _read_column(file, name, rank)
            if isinstance(values, Violation):
                violations.append(values)
            else:
                columns[name] = values
    return columns, violations + check_columns(columns)


def check_columns(columns: dict[str, np.ndarray]) -> list[Violation]:
    """What is wrong with columns that are there, and of the right rank."""
    violations = [violation for name, column in columns.items() for violation in _find_bad_rows(name, column)]
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        counted = ', '.join(f'{name} {length:,}' for name, length in lengths.items())
        violations.insert(
            0, Violation(f'the columns differ in length: {counted}', remedy='Every step needs one row in each.')
        )
    elif columns and not any(lengths.values()):
        violations.append(Violation('it holds no steps', remedy='Record some: python scripts/collect.py --help'))
    return violations


def read_metadata(path: str | Path) -> dict[str, str]:
    """What the file says of itself under `metadata/`: `env`, `physics`, `sources`, …; empty where it says nothing."""
    import h5py

    with _opened(path) as file:
        group = file['metadata'] if 'metadata' in list(file) else None
        if not isinstance(group, h5py.Group):
            return {}
        entries = {str(name): group[name] for name in group}  # get() and items() pass over what is damaged
        return {
            name: _as_text(entry[()])
            for name, entry in entries.items()
            if isinstance(entry, h5py.Dataset) and not _claims_too_much(entry) and not _lies_elsewhere(entry)
        }


def check_readable(path: str | Path) -> None:
    """Read all that the file holds, whatever it is, and refuse the file if any of it cannot be read."""
    import h5py

    def read(name, entry):
        if isinstance(entry, h5py.Dataset) and entry.shape:
            if _claims_too_much(entry):
                raise OSError(f"'{name}' has shape {entry.shape}, far more than the file can hold")
            for start in range(0, len(entry), BLOCK):
                entry[start : start + BLOCK]

    with _opened(path) as file:
        file.visititems(read)


def write_episodes(path: str | Path, columns: dict[str, np.ndarray], metadata: dict[str, object]) -> None:
    """Write the five columns, optional ones, and their provenance; the file appears whole or not at all.

    Columns and structure are under checksums, gzip's and HDF5 1.10's, so that a byte that flips later is noticed; only
    the words under `metadata/` are not.
    """
    import h5py

    with write_atomically(path) as partial, h5py.File(partial, 'w', libver=('v110', 'v110')) as file:
        for name in (*COLUMNS, *(name for name in OPTIONAL if name in columns)):
            kind = bool if name in (*FLAGS, *OPTIONAL) else np.float32
            file.create_dataset(
                name, data=columns[name].astype(kind), compression='gzip', compression_opts=9, shuffle=True
            )
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
        except Exception as error:  # cut or flipped bytes make HDF5 raise nearly anything
            raise InputError(self._damaged(error)) from error
        return self.file

    def __exit__(self, kind, error, traceback):
        self.file.close()
        if isinstance(error, Exception) and not isinstance(error, (InputError, MemoryError)):
            raise InputError(self._damaged(error)) from error

    def _damaged(self, error):
        reason = str(error).partition('\n')[0] or type(error).__name__
        return (
            f'{self.path} ({self.path.stat().st_size:,} bytes) is not a whole HDF5 file: {reason}\n'
            '  It may have been cut off on its way here: delete it, and copy or download it again (the same '
            "command does so with D4RL's own)."
        )


def _read_column(file, name, rank):
    """The values of a column, or the `Violation` that there are none."""
    import h5py

    if name not in list(file):
        return Violation(f"it has no '{name}'; it holds {', '.join(sorted(file)) or 'nothing'}")
    if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
        return Violation(f"'{name}' is a link to another file, which is not followed", name)
    column = file[name]
    if not isinstance(column, h5py.Dataset):
        return Violation(f"'{name}' is a group, expected a column", name)
    if column.dtype.kind not in 'fiub':
        return Violation(f"'{name}' holds {column.dtype}, expected numbers", name)
    if column.shape is None:
        return Violation(f"'{name}' is empty, expected numbers", name)
    if _claims_too_much(column):
        return Violation(f"'{name}' has shape {column.shape}, far more than the file can hold", name)
    if elsewhere := _lies_elsewhere(column):
        return Violation(f"'{name}' {elsewhere}", name)
    values = column[()]
    if rank == 1 and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != rank or 0 in values.shape[1:]:
        expected = '[ steps ]' if rank == 1 else '[ steps x numbers ]'
        return Violation(f"'{name}' has shape {values.shape}, expected {expected}", name)
    if values.dtype == bool:
        return values
    with np.errstate(over='ignore'):  # what is too large becomes infinite
        return values.astype(np.float32, copy=False)


def _claims_too_much(column):
    n_bytes = column.size * max(4, column.dtype.itemsize)  # it is read as float32
    return n_bytes > max(MAX_UNSTORED, MAX_RATIO * column.file.id.get_filesize())


def _lies_elsewhere(column):
    """What keeps a column's values from being in the file; None if they are."""
    if column.is_virtual:
        return 'is virtual: its values are in other files, which are not read'
    if column.external:
        return 'lies in external files, which are not read'
    if column.chunks and column.size:
        n_chunks = np.prod([-(-n // size) for n, size in zip(column.shape, column.chunks, strict=True)])
        if (n_written := column.id.get_num_chunks()) < n_chunks:
            return f'was written in part: {n_written:,} of {n_chunks:,} chunks'
    elif column.size and not column.id.get_storage_size():
        return 'was never written'
    return None


def _find_bad_rows(name, column):
    bad = ~np.isfinite(column)
    rows = np.flatnonzero(bad.any(axis=tuple(range(1, bad.ndim))))
    if len(rows):
        yield Violation(
            f"'{name}' has {int(bad.sum()):,} values that are not finite, the first in row {rows[0]:,}",
            name,
            rows,
            _EPISODES,
        )
    if name in FLAGS:
        rows = np.flatnonzero((column != 0) & (column != 1) & ~bad)
        if len(rows):
            yield Violation(
                f"'{name}' has {len(rows):,} values other than 0 and 1, the first in row {rows[0]:,}",
                name,
                rows,
                _EPISODES,
            )


def _as_text(value):
    return value.decode(errors='replace') if isinstance(value, bytes) else str(value)
