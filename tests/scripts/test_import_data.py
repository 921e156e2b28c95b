"""Importing: episodes of one's own become a file that is checked, and learned from."""

import sys

import numpy as np
import pytest

from scripts import check_data, import_data
from tests.datasets.test_hdf5 import recorded
from trajectory import utils
from trajectory.datasets import DiscretizedDataset, load_environment
from trajectory.datasets.hdf5 import read_metadata


def start(script, *flags):
    """Run the script as the command line would, in this process."""
    given, sys.argv = sys.argv, [f'{script.__name__}.py', *map(str, flags)]
    try:
        utils.run(script.main, script.Parser, experiment=None)
    finally:
        sys.argv = given


@pytest.fixture
def source(tmp_path):
    episodes = [{name: column[20 * k : 20 * k + 20] for name, column in recorded().items()} for k in range(20)]
    np.savez_compressed(
        tmp_path / 'episodes.npz',
        **{f'{name}_{k}': value for k, episode in enumerate(episodes) for name, value in episode.items()},
    )
    return tmp_path / 'episodes.npz'


def test_what_was_imported_is_whole_and_can_be_learned_from(source, tmp_path, capsys):
    target = tmp_path / 'mine.hdf5'
    start(import_data, source, target, '--env', 'Hopper-v4', '--physics', 'd4rl')
    assert f'python scripts/check_data.py {target}' in capsys.readouterr().out
    assert read_metadata(target) == {'env': 'Hopper-v4', 'physics': 'd4rl', 'sources': 'imported from episodes.npz'}
    start(check_data, target)
    assert 'violation' not in capsys.readouterr().out
    env = load_environment('mine', target)
    assert (env.id, env.physics, env.data_source) == ('Hopper-v4', 'd4rl', 'imported from episodes.npz')
    dataset = DiscretizedDataset(env, sequence_length=5, step=1)
    np.testing.assert_array_equal(dataset.joined_raw[:, :11], recorded()['observations'][:-1])
    assert set(range(20, 400, 20)) <= set(np.cumsum(dataset.path_lengths)), 'no episode runs on into the next'


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'Name the Gymnasium environment: --env Hopper-v4'),
        (['--env', 'Walker2d-v4'], "'observations' of mine has 11 columns, those of its environment Walker2d-v4 17"),
        (['--env', 'os:Hopper-v4'], "'os:Hopper-v4' is not an environment that Gymnasium can make here"),
        (['--env', 'Hopper-v4', '--physics', 'lunar'], "expected stock or d4rl, got 'lunar'"),
        (['--env', 'Hopper-v4', '--autoreset', 'no'], "expected next_step or same_step, got 'no'"),
    ],
)
def test_what_cannot_be_done_is_refused_and_writes_nothing(source, tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as exit_:
        start(import_data, source, tmp_path / 'mine.hdf5', *flags)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]


def test_nothing_is_written_over_or_into_nowhere(source, tmp_path, capsys):
    for target, message in (
        (source, 'is there already, and is not written over'),
        (tmp_path / 'absent/mine.hdf5', 'absent is not there'),
    ):
        before = source.read_bytes()
        with pytest.raises(SystemExit):
            start(import_data, source, target, '--env', 'Hopper-v4')
        assert message in capsys.readouterr().err
        assert source.read_bytes() == before
