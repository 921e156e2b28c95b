"""Pickled lists of episodes: every protocol and layout of arrays is read, and nothing else that a pickle could hold."""

import pickle
import pickletools

import numpy as np
import pytest

from trajectory.datasets.pickled_episodes import read_pickled_episodes
from trajectory.utils.errors import InputError

EPISODE = {
    'observations': np.arange(12, dtype=np.float32).reshape(4, 3),
    'columns': np.asfortranarray(np.arange(6, dtype='>f8').reshape(2, 3)),
    'strided': np.arange(20)[::2],
    'terminals': np.array([False, True]),
    'scalar': np.float64(1.5),
    'number': 3,
}


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_of_every_protocol_are_read(tmp_path, protocol):
    path = tmp_path / 'episodes.pkl'
    path.write_bytes(pickle.dumps([EPISODE, EPISODE], protocol))
    for found in read_pickled_episodes(path):
        assert list(found) == list(EPISODE)
        for name, expected in EPISODE.items():
            np.testing.assert_array_equal(found[name], expected)
            assert found[name].dtype.kind == np.asarray(expected).dtype.kind


def test_the_old_names_of_numpys_modules_are_read(tmp_path):
    content = pickle.dumps([EPISODE], 2).replace(b'numpy._core', b'numpy.core')
    assert any('numpy.core' in str(argument) for _, argument, _ in pickletools.genops(content))
    (tmp_path / 'old.pkl').write_bytes(content)
    np.testing.assert_array_equal(read_pickled_episodes(tmp_path / 'old.pkl')[0]['strided'], EPISODE['strided'])


class Call:
    """Pickled, it is a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ('held', 'message'),
    [
        ([Call(print, 'it ran')], 'would call builtins.print'),
        ([Call(np.load, 'x.npy')], 'would call numpy'),
        ([Call(np.ndarray, (10**12,))], 'cannot be read'),
        ([{'a': np.array([None, 1], dtype=object)}], "it holds 'O8', expected numbers"),
        ([{'a': np.array(['text'])}], 'expected numbers'),
        ([{'a': [1, 2]}], 'episode 0: .a. is a list, expected an array'),
        ({'a': np.zeros(3)}, 'holds dict, expected a list of episodes'),
        ([np.zeros(3)], 'expected a list of episodes'),
    ],
)
def test_anything_else_is_refused(tmp_path, capsys, held, message):
    path = tmp_path / 'hostile.pkl'
    path.write_bytes(pickle.dumps(held))
    with pytest.raises(InputError, match=message) as refused:
        read_pickled_episodes(path)
    assert str(path) in str(refused.value)
    assert 'it ran' not in capsys.readouterr().out


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    content = pickle.dumps([EPISODE])
    path = tmp_path / 'cut.pkl'
    for n_bytes in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(InputError, match='cannot be read as a pickle'):
            read_pickled_episodes(path)
