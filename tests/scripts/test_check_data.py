"""Looking at a file: the whole report, its picture, and exit code 2 where the file cannot be learned from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from scripts import check_data
from tests.plotting.test_histogram import COLOR, pixels
from trajectory import utils

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / 'data/hopper-mixed-ppo.hdf5'


def start(*flags):
    """Run the script as the command line would, in this process."""
    given, sys.argv = sys.argv, ['scripts/check_data.py', *map(str, flags)]
    try:
        utils.run(check_data.main, check_data.Parser, experiment=None)
    finally:
        sys.argv = given


def test_a_whole_file_is_described_and_drawn(tmp_path, capsys):
    path = Path(shutil.copy(BUNDLED, tmp_path / 'mine.hdf5'))
    start(path)
    said = capsys.readouterr().out
    for words in (
        '50,000 steps | 2,465,184 bytes',
        'environment Hopper-v4, physics d4rl',
        '117 episodes: 96 ended by a fall, 21 by the clock',
        'observations[10]',
        '100 x score',
        f'python scripts/train.py --dataset mine --dataset_path {path}',
    ):
        assert words in said
    assert 'violation' not in said
    assert len(pixels(tmp_path / 'mine_returns.png', COLOR)[0]) > 5000


def test_every_violation_is_listed_and_the_end_is_exit_code_2(tmp_path, capsys):
    path = Path(shutil.copy(BUNDLED, tmp_path / 'mine.hdf5'))
    with h5py.File(path, 'a') as file:
        actions = file['actions'][()]
        actions[17, [1, 2]] = np.nan, np.inf
        file['actions'][...] = actions
        file['observations'][:, 3] = 1
        del file['timeouts'], file['terminals']
        file['terminals'] = np.arange(len(actions)) % 3
    with pytest.raises(SystemExit) as exit_:
        start(path, '--rows', 2, '--output', tmp_path / 'other.png')
    said = capsys.readouterr()
    assert exit_.value.code == 2
    assert said.err == f'check_data.py: error: {path} cannot be learned from: 3 violations, listed above\n'
    for words in (
        "violation: it has no 'timeouts'; it holds actions, metadata, observations, rewards, terminals\n",
        "violation: 'actions' has 2 values that are not finite, the first in row 17\n    row 17: [1] nan, [2] inf\n",
        "violation: 'terminals' has 16,666 values other than 0 and 1, the first in row 2\n    row 2: 2\n"
        '    row 5: 2\n    and 16,664 more (--rows 16666 lists them)\n',
        'constant: observations[3] = 1\n',
    ):
        assert words in said.out
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['absent.hdf5'], 'absent.hdf5 is not there'),
        ([BUNDLED, '--output', 'absent/x.png'], 'the folder absent is not there'),
        ([BUNDLED, '--rows', '0'], 'rows must be at least 1'),
        ([BUNDLED, '--row', '3'], 'Did you mean --rows?'),
        ([], 'the following arguments are required: file'),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        start(*flags)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_ends_the_command_with_one_message(tmp_path):
    path = Path(shutil.copy(BUNDLED, tmp_path / 'mine.hdf5'))
    os.truncate(path, 1_000_000)
    done = subprocess.run(
        [sys.executable, ROOT / 'scripts/check_data.py', path],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f'check_data.py: error: {path} (1,000,000 bytes) is not a whole HDF5 file')
    assert 'Traceback' not in done.stderr
    assert list(tmp_path.iterdir()) == [path]
