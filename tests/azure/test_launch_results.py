"""The comparison of methods from its launcher to its summary, on a file of this machine."""

import sys

import numpy as np
import pytest

from azure import launch_results
from plotting.summary import main as summarize
from trajectory import utils
from trajectory.datasets.hdf5 import write_episodes

TINY = ('--n_layer', 1, '--n_updates', 4, '--n_epochs', 1, '--n_head', 1, '--n_embd', 8, '--batch_size', 64,
        '--subsampled_sequence_length', 2, '--max_episode_steps', 4, '--horizon', 2, '--beam_width', 2,
        '--max_context_transitions', 2, '--device', 'cpu', '--N', 8, '--width', 8)  # fmt: skip


def start(*flags):
    given, sys.argv = sys.argv, ['azure/launch_results.py', *map(str, flags)]
    try:
        return utils.run(launch_results.main, launch_results.Parser, None)
    finally:
        sys.argv = given


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    n = 300
    columns = {
        'observations': rng.normal(size=(n, 11)).astype(np.float32),
        'actions': rng.uniform(-1, 1, size=(n, 3)).astype(np.float32),
        'rewards': rng.normal(size=n).astype(np.float32),
        'terminals': np.zeros(n, bool),
        'timeouts': np.arange(1, n + 1) % 50 == 0,
    }
    write_episodes(tmp_path / 'mine.hdf5', columns, {'env': 'Hopper-v4', 'physics': 'stock'})
    return tmp_path / 'mine.hdf5'


def test_arms_are_trained_act_and_are_summed_up_and_nothing_is_done_twice(file, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ('--files', file, '--arms', 'iql', 'planned', 'planned_by_q', '--n_episodes', 2, *TINY)
    assert start(*flags) == 0
    assert '5 done' in capfd.readouterr().out.splitlines()[-1]
    assert start(*flags) == 0
    assert '5 skipped' in capfd.readouterr().out.splitlines()[-1]
    summarize([str(tmp_path / 'logs')])
    said = capfd.readouterr().out
    assert "mine, the data's mean return" in said
    assert said.count('planned is above by') == 4  # iql and planned_by_q, on the dataset and over all
    assert said.count('n = 2') == 3


def test_every_arm_has_a_command_and_seeds_that_chose_nothing(capfd):
    assert start('--dry_run', '--dataset', 'hopper-mixed-ppo', 'hopper-medium-v2') == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2 * (4 + 9)
    acting = [line for line in lines if 'scripts/train.py' not in line]
    assert all('--seed 5000 --n_episodes 30' in line for line in acting)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--arms', 'ppo'], "there is no arm 'ppo'"),
        (['--files', 'x.hdf5', '--dataset', 'y'], 'Leave out --dataset'),
        (['--config', 'config.meta'], 'Leave out --config'),
        (['--n_episodes', '0'], 'n_episodes must be at least 1'),
    ],
)
def test_what_cannot_be_is_refused(capfd, flags, message):
    with pytest.raises(SystemExit):
        start('--dry_run', *flags)
    assert message in capfd.readouterr().err
