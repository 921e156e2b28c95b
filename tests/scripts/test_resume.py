"""A run that is killed, stopped, or out of disk goes on as if nothing had happened."""
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.scripts.test_train_and_plan import TINY_MODEL, random_episodes, start
from trajectory.datasets.hdf5 import write_episodes

ROOT = Path(__file__).parents[2]
LONG = (*TINY_MODEL, '--n_epochs', '12', '--batch_size', '32', '--log_freq', '3', '--save_steps', '2', '--n_saves', '4')
N_KILLS = 20


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'tiny.hdf5'
    write_episodes(path, random_episodes(), {'env': 'Hopper-v4', 'physics': 'd4rl', 'sources': 'random actions'})
    return path


@pytest.fixture
def train(recording, tmp_path):
    """Flags of a run called `name`."""
    return lambda name, *flags: ('--dataset', 'tiny', '--dataset_path', str(recording), '--logbase', str(tmp_path),
                                 '--exp_name', name, *LONG, *flags)


@pytest.fixture(scope='module')
def uninterrupted(recording, tmp_path_factory):
    """The folder of the run that nothing happened to."""
    logbase = tmp_path_factory.mktemp('logs')
    start('train', '--dataset', 'tiny', '--dataset_path', recording, '--logbase', logbase, *LONG)
    return logbase / 'tiny/gpt/azure'


@pytest.fixture(scope='module')
def processes():
    """Starts processes that have imported everything already."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['scripts.train', 'scripts.plan', 'trajectory.datasets.environments', 'h5py'])
    return context


def quietly(flags):
    """A process' work: training, without words."""
    sys.stdout = sys.stderr = open(os.devnull, 'w')  # noqa: SIM115  for as long as the process lives
    torch.set_num_threads(1)
    start('train', *flags)


def rows_of(folder):
    """What the run logged, but for how long it took."""
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [{name: number for name, number in row.items() if name != 'tokens_per_second'} for row in rows]


def assert_same(folder, expected):
    """Weights of every epoch kept, and every row, to the last bit."""
    assert [path.name for path in sorted(folder.glob('state_*.pt'))] == ['state_12.pt', 'state_3.pt', 'state_6.pt',
                                                                         'state_9.pt']
    for path in expected.glob('state_*.pt'):
        ours, theirs = (torch.load(each / path.name, weights_only=True) for each in (folder, expected))
        for name in theirs:
            assert torch.equal(ours[name], theirs[name]), f'{path.name}: {name}'
    assert rows_of(folder) == rows_of(expected)


def n_rows(folder):
    path = folder / 'metrics.jsonl'
    return path.read_bytes().count(b'\n') if path.exists() else 0


def test_a_run_killed_twenty_times_ends_with_the_same_weights(train, tmp_path, uninterrupted, processes):
    rng = np.random.default_rng(0)
    folder, killed_after = tmp_path / 'tiny/killed', []
    for _ in range(N_KILLS):
        before = n_rows(folder)
        child = processes.Process(target=quietly, args=[train('killed')])
        child.start()
        deadline = time.monotonic() + 30
        while n_rows(folder) <= before and child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL, 'the run ended before it could be killed: make it longer'
        killed_after.append(n_rows(folder))
    assert len(set(killed_after)) > N_KILLS // 2, 'most kills hit the same place'
    quietly_done = processes.Process(target=quietly, args=[train('killed')])
    quietly_done.start()
    quietly_done.join()
    assert quietly_done.exitcode == 0
    assert_same(folder, uninterrupted)
    assert not [path.name for path in folder.iterdir() if path.name.startswith('.')], 'half-written files were left'
