"""Robots are simulated in worker processes, which change no number and outlive nothing."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch

from tests.rollouts.test_sampler import same
from trajectory.environments.families.registry import find_family
from trajectory.models.policies import NormalMLPPolicy
from trajectory.rollouts.sampler import BatchSampler
from trajectory.rollouts.simulators import make_simulators
from trajectory.utils.errors import InputError

STARTS_WORKERS = """
import time, numpy as np
from trajectory.environments.families.registry import find_family
from trajectory.rollouts.simulators import make_simulators

if __name__ == '__main__':
    simulators = make_simulators(find_family('HalfCheetahDir-v1'), 4, 2)
    simulators.reset(4 * [{'direction': 1}], np.random.SeedSequence(0))
    print(*(process.pid for process in simulators.vector.processes), flush=True)
    ENDING
"""


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return NormalMLPPolicy(123, 8, (8,), 'tanh')


def children():
    return [child for child in psutil.Process().children(recursive=True) if 'spawn_main' in ' '.join(child.cmdline())]


def test_the_number_of_workers_changes_no_bit(policy):
    sampled = []
    for n_workers in (1, 2, 3):
        sampler = BatchSampler('AntDir-v1', 2, n_workers)
        tasks = sampler.sample_tasks(2, (0,))
        sampled.append([sampler.sample(policy, tasks, (seed,)) for seed in (0, 1)])
        assert len(children()) == {1: 0, 2: 2, 3: 2}[n_workers]  # four episodes in groups of two
        sampler.close()
        assert not children()
    assert all(same(mine, theirs) for other in sampled[1:] for mine, theirs in zip(other, sampled[0], strict=True))
    assert sampled[0][0].lengths.unique().numel() > 1
    assert not same(*sampled[0])


def test_a_worker_that_dies_is_one_error(policy):
    sampler = BatchSampler('AntDir-v1', 2, 2)
    tasks = sampler.sample_tasks(2, (0,))
    sampler.sample(policy, tasks, (0,))
    os.kill(sampler._simulators.vector.processes[1].pid, signal.SIGKILL)
    with pytest.raises(InputError, match='a process that simulates environments has ended'):
        sampler.sample(policy, tasks, (1,))
    sampler.close()
    assert not children()


@pytest.mark.parametrize('ending', ['pass', 'raise SystemExit(3)', 'time.sleep(60)'])
def test_workers_end_with_their_parent(tmp_path, ending):
    script = tmp_path / 'starts_workers.py'
    script.write_text(STARTS_WORKERS.replace('ENDING', ending))
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    if 'sleep' in ending:
        parent.kill()
    parent.wait(30)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(map(psutil.pid_exists, workers)):
        time.sleep(0.1)
    assert not any(map(psutil.pid_exists, workers))


def test_an_episode_that_is_over_stays_where_it_is():
    simulators = make_simulators(find_family('2DNavigation-v0'), 2)
    simulators.reset([{'goal': np.array([0.1, 0.0])}, {'goal': np.array([0.5, 0.5])}], np.random.SeedSequence(0))
    actions = np.array([[0.1, 0.0], [0.1, 0.0]])
    _, rewards, ended = simulators.step(actions)
    assert ended.tolist() == [True, False]
    assert rewards[1] < 0
    _, rewards, ended = simulators.step(actions)
    assert rewards[0] == 0
    assert ended.tolist() == [True, False]
