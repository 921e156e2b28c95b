"""Read pickled lists of episodes, the Decision Transformer's data files, without running what a pickle may hold.

Only what NumPy's own arrays are pickled with is admitted, each by a stand-in that can build a plain array of numbers
and nothing else.
"""

import pickle
from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError
from trajectory.utils.files import check_regular

MAX_BYTES = 2**33
KINDS = 'biuf'  # of numbers


def read_pickled_episodes(path: str | Path) -> list[dict[str, np.ndarray]]:
    """The episodes of a pickled list of dicts of arrays.    InputError where it holds anything else"""
    path = Path(path)
    if not path.exists():
        raise InputError(f'{path} is not there.\n  Check the path.')
    check_regular(path, MAX_BYTES)
    try:
        with path.open('rb') as file:
            episodes = _ArrayUnpickler(file).load()
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    except MemoryError:
        raise
    except Exception as error:  # a cut or foreign file makes unpickling raise nearly anything
        raise InputError(
            f'{path} cannot be read as a pickle: {str(error) or type(error).__name__}.\n'
            '  It may be cut short: copy it again.'
        ) from error
    if not isinstance(episodes, list) or not all(isinstance(episode, dict) for episode in episodes):
        raise InputError(
            f'{path} holds {type(episodes).__name__}, expected a list of episodes, dicts of arrays.\n'
            '  Write plain arrays with np.savez_compressed: import_data.py --help'
        )
    return [_check_episode(episode, f'{path}, episode {k}') for k, episode in enumerate(episodes)]


def _check_episode(episode, where):
    arrays = {}
    for name, value in episode.items():
        value = getattr(value, 'numbers', value)
        if not isinstance(name, str) or not isinstance(value, np.ndarray | np.generic | int | float | bool):
            raise InputError(f'{where}: {str(name)[:50]!r} is a {type(value).__name__}, expected an array of numbers.')
        arrays[name] = np.asarray(value)
    return arrays


class _ArrayUnpickler(pickle.Unpickler):
    """Reads lists, dicts, numbers, text, and arrays of numbers."""

    def find_class(self, module, name):
        if (module, name) not in ADMITTED:
            raise InputError(
                f'it would call {module}.{name}, which is no part of an array of numbers and could run code.\n'
                '  Write plain arrays with np.savez_compressed: import_data.py --help'
            )
        return ADMITTED[module, name]


class _Dtype:
    """Stands in for a `numpy.dtype` of numbers."""

    def __init__(self, code, *_):
        self.dtype = np.dtype(code) if isinstance(code, str) and len(code) < 8 else np.dtype(object)
        if self.dtype.kind not in KINDS:
            raise InputError(f'it holds {str(code)[:20]!r}, expected numbers.\n  Leave other columns out.')

    def __setstate__(self, state):
        if state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for a `numpy.ndarray`, until it gets its numbers."""

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, content = state
        self.numbers = _view_buffer(content, dtype, shape, 'F' if is_fortran else 'C')


def _begin_array(*_):
    return _Array()


def _make_scalar(dtype, content):
    return np.frombuffer(content, dtype.dtype)[0]


def _view_buffer(content, dtype, shape, order):
    return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)


def _encode(text, encoding):
    if encoding != 'latin1':
        raise InputError(f'it holds text in {str(encoding)[:20]!r}.\n  Copy the file again.')
    return text.encode('latin1')


ADMITTED = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _Dtype,
    ('_codecs', 'encode'): _encode,
    **{(f'numpy.{package}.multiarray', '_reconstruct'): _begin_array for package in ('core', '_core')},
    **{(f'numpy.{package}.multiarray', 'scalar'): _make_scalar for package in ('core', '_core')},
    **{(f'numpy.{package}.numeric', '_frombuffer'): _view_buffer for package in ('core', '_core')},
}
