"""Bring episodes that others recorded into D4RL's layout, from plain arrays in `.npz`.

An `.npz` has one of three forms, T steps long:

    episodes   observations_0 [ T x d ]  actions_0 [ T x a ]  rewards_0 [ T ]  terminals_0 [ T ] or one for the episode,
               observations_1, …; or a folder of files, in the order of their names, each of one episode without numbers
    steps      observations [ T x d ]  actions [ T x a ]  rewards  terminals  timeouts [ T ], episodes end to end
    buffer     observations [ T x n x d ]  actions [ T x n x a ]  rewards  terminals  timeouts [ T x n ]: the same steps
               of n environments that ran side by side, as a loop over Gymnasium's vector environments collects them

`terminals` (Gymnasium: terminations, terminated) are falls, `timeouts` (truncations, truncated) are what the clock
ended. Timeouts may be left out where ends are known without them; an end that is no fall is then a time-out. An episode
may bring one observation more than actions, its last, which the layout has no room for.

A `.pkl` is a list of such episodes, as the Decision Transformer's data is; it is read without running anything.

Steps and buffers may bring what `gymnasium.wrappers.RecordEpisodeStatistics` keeps: `return_queue` and `length_queue`
(also `r` and `l`, as in its `info['episode']`), the returns and lengths of the last episodes in the order in which they
ended. What was recorded is then compared with them.
"""

import re
import zipfile
from pathlib import Path

import numpy as np

from trajectory.datasets.hdf5 import COLUMNS, FLAGS, check_columns
from trajectory.datasets.pickled_episodes import read_pickled_episodes
from trajectory.utils.errors import InputError

ALIASES = {
    'terminations': 'terminals',
    'terminated': 'terminals',
    'truncations': 'timeouts',
    'truncated': 'timeouts',
    'r': 'return_queue',
    'l': 'length_queue',
}
KNOWN = {*COLUMNS, 'return_queue', 'length_queue', 'dones'}
NUMBERED = re.compile(r'(\w+)_(\d+)')
TOLERANCE = 1e-3  # of a recorded return, relative
MAX_RATIO, MAX_UNPACKED = 100, 2**28  # of an archive's own size, and bytes

_FORMS = 'python scripts/import_data.py --help shows the forms that are read.'


def import_episodes(path: str | Path, autoreset: str = 'next_step') -> dict[str, np.ndarray]:
    """The columns of recorded episodes, end to end, as `write_episodes` takes them.

    path      : an `.npz`, a folder of them, or a `.pkl`
    autoreset : of a buffer, how its environments began anew: `next_step`, Gymnasium's default, spends a step on it,
                whose action and reward mean nothing and which is left out; `same_step` does not
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob('*.npz'))
        columns = _join([_read_episode(_read_arrays(file), file) for file in files], path)
    elif path.suffix in ('.pkl', '.pickle'):
        columns = _join(
            [_read_pickled(episode, f'{path}, episode {k}') for k, episode in enumerate(read_pickled_episodes(path))],
            path,
        )
    else:
        arrays = _read_arrays(path)
        numbers = sorted({int(found[2]) for found in map(NUMBERED.fullmatch, arrays) if found and found[1] in KNOWN})
        if numbers:
            columns = _join(
                [_read_episode(_strip(arrays, number), f'{path}, episode {number}') for number in numbers], path
            )
        else:
            columns = _read_steps(arrays, path, autoreset)
    for name, column in columns.items():
        if np.abs(column.astype(np.float64)).max(initial=0) > np.finfo(np.float32).max:
            raise InputError(
                f"{path}: '{name}' has numbers beyond {np.finfo(np.float32).max:.3g}, single precision's largest.\n"
                '  Scale them, or leave those episodes out.'
            )
    if violations := check_columns(columns):
        raise InputError(f'{path}: {violations[0].text}.\n  {violations[0].remedy}')
    return columns


def _read_arrays(path):
    """Everything in an `.npz`, by the names of D4RL's columns."""
    if not path.is_file():
        raise InputError(f'{path} is not there.\n  Check the path.')
    if not zipfile.is_zipfile(path):
        raise InputError(
            f'{path} is no .npz, or not whole; other pickles than lists of episodes, .pkl, are never read.\n'
            '  Write one with np.savez_compressed.'
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            _check_size(archive.zip, path)
            _check_names(archive.files, path)
            return {_rename(name): archive[name] for name in archive.files if _rename(name)}
    except InputError:
        raise
    except Exception as error:  # cut or flipped bytes make the readers raise nearly anything
        if isinstance(error, MemoryError):
            raise
        if 'allow_pickle' in str(error):
            raise InputError(
                f'{path} holds Python objects, which are pickled and could run code: they are not read.\n'
                '  Write plain arrays of numbers, a list of episodes as observations_0, observations_1, …'
            ) from error
        raise InputError(f'{path} cannot be read: {error}\n  It may be cut short: copy or write it again.') from error


def _check_size(archive, path):
    """Refuse an archive that unpacks to far more than it has."""
    n_bytes = sum(member.file_size for member in archive.infolist())
    if n_bytes > max(MAX_UNPACKED, MAX_RATIO * path.stat().st_size):
        raise InputError(
            f'{path} would unpack to {n_bytes:,} bytes, {MAX_RATIO} times its size and more than {MAX_UNPACKED:,}.\n'
            '  Split it, or write it again with np.savez.'
        )


def _check_names(files, path):
    """Refuse arrays of which one would hide another."""
    seen = {}
    for name in files:
        meant = _rename(name)
        if meant in seen:
            raise InputError(
                f"{path} has both '{seen[meant]}' and '{name}', which mean the same.\n  Leave one of them out."
            )
        if meant:
            seen[meant] = name
    numbered = [name for meant, name in seen.items() if NUMBERED.fullmatch(meant)]
    plain = [name for meant, name in seen.items() if meant in COLUMNS]
    if numbered and plain:
        raise InputError(
            f"{path} has '{plain[0]}' beside '{numbered[0]}': are the episodes numbered, or end to end?\n"
            '  Write one form alone.'
        )


def _rename(name):
    """The name of a column, numbered or not, in D4RL's words; None for what is not read."""
    stem, number = (name, '') if name in KNOWN | ALIASES.keys() else name.rpartition('_')[::2]
    stem = ALIASES.get(stem, stem)
    if stem not in KNOWN or not (number or '0').isdecimal():
        return None
    return f'{stem}_{int(number)}' if number else stem


def _strip(arrays, number):
    return {name: arrays[f'{name}_{number}'] for name in KNOWN if f'{name}_{number}' in arrays}


def _read_pickled(episode, where):
    arrays = {ALIASES.get(name, name): array for name, array in episode.items()}
    if 'dones' in arrays and 'terminals' not in arrays:  # as the original takes them
        arrays['terminals'] = arrays['dones']
    return _read_episode({name: array for name, array in arrays.items() if name in KNOWN}, where)


def _read_episode(arrays, where):
    """The columns of one episode; where nothing else ended it, its last step is a time-out."""
    length = _length(_need(arrays, 'actions', where))
    arrays = {'timeouts': np.zeros(length, dtype=bool), **arrays}
    columns = {name: _need(arrays, name, where) for name in COLUMNS}
    if _length(columns['observations']) == length + 1:
        columns['observations'] = columns['observations'][:-1]
    for name in [name for name in FLAGS if columns[name].size == 1]:  # of the episode, not of each step
        columns[name] = np.append(np.zeros(max(0, length - 1), columns[name].dtype), columns[name])
    _check_shapes(columns, where)
    return _cut_off(columns)


def _read_steps(arrays, where, autoreset):
    """The columns of one environment's steps, [ T x … ], or of several environments', [ T x n x … ]."""
    columns = {name: _need(arrays, name, where) for name in COLUMNS}
    is_buffer = columns['observations'].ndim == 3
    parts, ended = [], []
    for number, part in enumerate(_take_apart(columns, where) if is_buffer else [columns]):
        _check_shapes(part, where)
        steps = np.arange(len(part['actions']))
        if is_buffer and autoreset == 'next_step':
            kept = ~np.append(False, _ends(part)[:-1])
            if (earned := part['rewards'][~kept]).any():
                raise InputError(
                    f'{where}: the step after an end earned {earned[earned != 0][0]:g}, where a step that '
                    'begins anew earns nothing.\n  Pass --autoreset same_step.'
                )
            part, steps = {name: column[kept] for name, column in part.items()}, steps[kept]
        ended += _finished_episodes(part, steps, number)
        parts.append(_cut_off(part) if is_buffer else part)
    if not is_buffer or autoreset == 'next_step':  # with same_step, Gymnasium misses each episode's first step
        _compare_with_statistics(sorted(ended), arrays, where)
    return _join(parts, where)


def _take_apart(columns, where):
    """The columns of each environment of a buffer."""
    n_envs = columns['observations'].shape[1]
    for name, column in columns.items():
        if column.shape[1:2] != (n_envs,):
            raise InputError(
                f"{where}: 'observations' are of {n_envs} environments, but '{name}' has shape "
                f'{column.shape}.\n  {_FORMS}'
            )
    return [{name: column[:, number] for name, column in columns.items()} for number in range(n_envs)]


def _ends(columns):
    return (columns['terminals'] != 0) | (columns['timeouts'] != 0)


def _finished_episodes(columns, steps, number):
    """Of each episode that ended: at which step, of which environment, its length and return."""
    ends = np.flatnonzero(_ends(columns))
    starts = np.append(0, ends + 1)[:-1]
    returns = np.append(0, np.cumsum(columns['rewards'], dtype=np.float64))
    return [
        (int(steps[end]), number, int(end + 1 - start), float(returns[end + 1] - returns[start]))
        for start, end in zip(starts, ends, strict=True)
    ]


def _compare_with_statistics(ended, arrays, where):
    """Refuse episodes that are not those of which RecordEpisodeStatistics kept the last returns and lengths."""
    for name, words, place in (('length_queue', 'steps', 2), ('return_queue', 'as its return', 3)):
        kept = np.ravel(arrays.get(name, []))
        if len(kept) and kept.dtype.kind not in 'fiub':
            raise InputError(f"{where}: '{name}' holds {kept.dtype}, expected numbers.\n  {_FORMS}")
        for expected, episode in zip(kept[::-1], ended[::-1], strict=False):
            if abs(episode[place] - expected) > TOLERANCE * max(1, abs(expected)):
                raise InputError(
                    f'{where}: the episode that ended in row {episode[0]:,} has {episode[place]:.6g} {words}, {name} '
                    f'says {expected:.6g}.\n  Were rewards scaled before they were recorded, or steps left out?'
                )


def _join(parts, where):
    if not parts:
        raise InputError(f'{where} holds no episodes.\n  {_FORMS}')
    for name in ('observations', 'actions'):
        widths = [part[name].shape[1] for part in parts]
        if len(set(widths)) > 1:
            other = next(number for number, width in enumerate(widths) if width != widths[0])
            raise InputError(
                f"{where}: '{name}' of the first episode has {widths[0]} columns, of the episode in place "
                f'{other} {widths[other]}.\n  Import those of one robot alone.'
            )
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def _cut_off(columns):
    """Mark the last step as a time-out, unless it is an end already, so that no episode runs on into the next."""
    timeouts = columns['timeouts'].copy()
    timeouts[-1:] = np.where(columns['terminals'][-1:] != 0, timeouts[-1:], 1)
    return {**columns, 'timeouts': timeouts}


def _need(arrays, name, where):
    """The array of this name, of numbers."""
    if name not in arrays:
        held = ', '.join(sorted(arrays)) or 'nothing of use'
        why = ', and dones do not tell falls from time-outs' if name in FLAGS and 'dones' in arrays else ''
        raise InputError(f"{where} has no '{name}'{why}; it holds {held}.\n  {_FORMS}")
    if arrays[name].dtype.kind not in 'fiub':
        raise InputError(f"{where}: '{name}' holds {arrays[name].dtype}, expected numbers.\n  {_FORMS}")
    return arrays[name]


def _check_shapes(columns, where):
    """Refuse columns that are not [ T x numbers ] or [ T ], with one T above 0."""
    length = _length(columns['actions'])
    for name in sorted(COLUMNS, key=lambda name: name != 'actions'):
        shape, rank = columns[name].shape, COLUMNS[name]
        if len(shape) != rank or 0 in shape or shape[0] != length:
            numbers = ' x numbers' if rank == 2 else ''
            raise InputError(
                f"{where}: '{name}' has shape {shape}, expected [ {length or 'steps'}{numbers} ].\n  {_FORMS}"
            )


def _length(array):
    return len(array) if array.ndim else 0
