"""Pre-training and fine-tuning in sequence through the scripts: killed runs, several processes, robots as a domain."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
import torch

from tests.algorithms.multi_domain.test_algorithm import SMALL, TASKS, data, logbase  # noqa: F401  fixtures
from tests.scripts.test_adaptation import rows_of
from tests.scripts.test_train_and_plan import start
from tests.training.test_distributed import torchrun
from trajectory.datasets.hdf5 import read_episodes, write_episodes
from trajectory.storage.weights import read_weights

ROOT = Path(__file__).parents[2]


def test_a_sequence_that_is_killed_goes_on_to_the_same_bits(data, logbase):  # noqa: F811
    flags = (
        *('--config', 'config.continual', '--data_path', data, '--logbase', logbase, *SMALL, '--base', 'base'),
        *('--finetuning', 'l2m_lora', '--n_keys', 4, '--num_updates', 40, '--save_steps', 5, '--log_freq', 5),
        *('--tasks', TASKS[2], TASKS[1]),
    )
    start('train', *flags, '--exp_name', 'whole')
    command = [sys.executable, 'scripts/train.py', *map(str, flags), '--exp_name', 'killed']
    environment, folder = {**os.environ, 'PYTHONPATH': str(ROOT)}, logbase / 'metaworld/killed'
    for n_steps in (15, 60):  # inside the first task and inside the second
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while (not (rows := rows_of(folder)) or rows[-1]['step'] < n_steps) and run.poll() is None:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'going on after' in done.stdout
    assert rows_of(folder) == rows_of(logbase / 'metaworld/whole')
    ours, theirs = (read_weights(max((logbase / 'metaworld' / name).glob('state_*'))) for name in ('killed', 'whole'))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_processes_share_the_batches_of_pre_training(data, tmp_path):  # noqa: F811
    flags = (
        *('--config', 'config.continual', '--data_path', data, '--logbase', tmp_path, *SMALL, '--tasks', *TASKS[:2]),
        *('--num_updates', 20, '--log_freq', 5),
    )
    done = torchrun(*flags, '--exp_name', 'two')
    assert done.returncode == 0, done.stderr
    start('train', *flags, '--exp_name', 'one')
    two, one = (rows_of(tmp_path / 'metaworld' / name) for name in ('two', 'one'))
    assert [row['loss'] for row in two] == pytest.approx([row['loss'] for row in one], rel=1e-4)


def test_robots_are_a_domain_beside_a_suite(data, tmp_path, capsys):  # noqa: F811
    folder = tmp_path / 'suite'
    shutil.copytree(data, folder)
    columns = {name: column[:3000] for name, column in read_episodes(ROOT / 'data/hopper-mixed-ppo.hdf5').items()}
    write_episodes(folder / 'Hopper-v4.hdf5', columns, {'env': 'Hopper-v4', 'physics': 'd4rl'})
    flags = ('--config', 'config.continual', '--data_path', folder, '--logbase', tmp_path, *SMALL)
    start('train', *flags, '--tasks', TASKS[0], 'Hopper-v4', '--num_updates', 40, '--exp_name', 'base')
    start('evaluate', '--config', 'config.continual', '--logbase', tmp_path, '--loadpath', 'base', '--tasks',
          'Hopper-v4', '--n_episodes', 2)  # fmt: skip
    rollout = next(Path(tmp_path, 'metaworld/evaluations').rglob('Hopper-v4/*/rollout.json'), None)
    assert rollout is not None, sorted(Path(tmp_path, 'metaworld/evaluations').rglob('*'))

    with h5py.File(folder / 'Hopper-v4.hdf5', 'a') as file:
        file['metadata/physics'][...] = 'stock'
    with pytest.raises(SystemExit):
        start('train', *flags, '--tasks', 'Hopper-v4', '--num_updates', 40, '--exp_name', 'other')
    assert "recorded with stock physics, expected D4RL's" in capsys.readouterr().err
