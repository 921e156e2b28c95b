"""Meta-learning through the scripts: killed runs, several processes, sweeps, the report."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from azure import launch_train
from plotting import report
from tests.scripts.test_train_and_plan import start
from tests.training.test_distributed import torchrun
from trajectory.sweeps import Parser

ROOT = Path(__file__).parents[2]
TINY = ('--config', 'config.meta', '--hidden_size', 8, '--fast_batch_size', 2, '--meta_batch_size', 3, '--threads', 1)


def rows_of(folder):
    path = folder / 'metrics.jsonl'
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{name: number for name, number in row.items() if name != 'updates_per_second'} for row in rows]


def test_a_run_with_workers_that_is_killed_goes_on_to_the_same_bits_and_leaves_no_process(tmp_path):
    flags = (*TINY, '--env', 'AntVel-v1', '--num_batches', 6, '--save_steps', 1, '--logbase', tmp_path)
    start('train', *flags, '--num_workers', 1, '--exp_name', 'whole')
    command = [sys.executable, 'scripts/train.py', *map(str, flags), '--num_workers', '2', '--exp_name', 'killed']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    folder = tmp_path / 'AntVel-v1/killed'
    for n_rows in (1, 3):
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(rows_of(folder)) < n_rows and run.poll() is None:
            time.sleep(0.01)
        workers = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert not alive
        assert len(workers) >= 2
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'going on after' in done.stdout
    assert rows_of(folder) == rows_of(tmp_path / 'AntVel-v1/whole')
    ours, theirs = (
        torch.load(tmp_path / f'AntVel-v1/{name}/state_6.pt', weights_only=True) for name in ('killed', 'whole')
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_ctrl_c_saves_the_run_and_ends_the_workers(tmp_path):
    flags = (*TINY, '--env', 'HalfCheetahVel-v1', '--num_batches', 100, '--num_workers', 2, '--logbase', tmp_path)
    folder = tmp_path / 'HalfCheetahVel-v1/maml/default'
    run = subprocess.Popen(
        [sys.executable, 'scripts/train.py', *map(str, flags)],
        cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)}, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while len(rows_of(folder)) < 2 and run.poll() is None:
        time.sleep(0.01)
    workers = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, said = run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGINT
    assert 'Traceback' not in said
    assert 'the same command goes on from there' in said
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_two_processes_share_the_tasks(tmp_path):
    done = torchrun(*TINY, '--num_batches', 2, '--logbase', tmp_path)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / '2DNavigation-v0/maml/default')
    assert [row['step'] for row in rows] == [1, 2]
    start('train', *TINY, '--num_batches', 2, '--logbase', tmp_path, '--exp_name', 'one')
    one = rows_of(tmp_path / '2DNavigation-v0/one')
    assert rows[0]['total_rewards/before_update'] == pytest.approx(one[0]['total_rewards/before_update'], rel=0.5)
    assert rows[0]['kl'] < 0.01


def test_seeds_and_families_are_swept_and_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [
        *('--config', 'config.meta', '--env', '2DNavigation-v0', 'TabularMDP-v0', '--seed', '1', '2'),
        *('--exp_name', 'maml/seed{seed}', '--num_batches', '2', '--workers', '2', '--logbase', 'logs'),
        *('--fast_batch_size', '2', '--meta_batch_size', '3'),
    ]
    assert launch_train.main(Parser().parse_args(None, flags)) == 0
    folders = [
        Path('logs', env, 'maml', f'seed{seed}') for env in ('2DNavigation-v0', 'TabularMDP-v0') for seed in (1, 2)
    ]
    assert all((folder / 'finished.json').exists() for folder in folders)
    assert len({rows_of(folder)[0]['total_rewards/before_update'] for folder in folders}) == 4
    start('evaluate', '--config', 'config.meta', '--loadpath', 'maml/seed1', '--n_tasks', 2, '--num_steps', 1)
    report.main(['logs'])
    page = Path('logs/report.html').read_text()
    assert 'evaluations/maml/seed1_trained/steps1' in page
    assert 'Total rewards' in page
