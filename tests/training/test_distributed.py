"""Two processes that train together take the steps of one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.scripts.test_resume import recording, rows_of  # noqa: F401  a fixture
from tests.scripts.test_train_and_plan import TINY_MODEL, start
from trajectory.training.distributed import Distributed, connect

ROOT = Path(__file__).parents[2]
N_ENDS = int(os.environ.get('TORCHRUN_ENDS', 2))  # without `_End`, 2 of 42 failed on a busy machine
NO_DROPOUT = ('--embd_pdrop', '0', '--resid_pdrop', '0', '--attn_pdrop', '0')
UNEVEN = (*TINY_MODEL, '--n_epochs', '2', '--batch_size', '47', '--log_freq', '1', '--held_out', '0.2')


def torchrun(*flags):
    command = [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--nproc_per_node=2',
        '--master_port=0',
        '--standalone',
        'scripts/train.py',
        *map(str, flags),
    ]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_team_of_two_has_the_losses_and_the_weights_of_one(recording, tmp_path):  # noqa: F811
    flags = ('--dataset', 'tiny', '--dataset_path', recording, '--logbase', tmp_path, *UNEVEN, *NO_DROPOUT)
    start('train', *flags, '--exp_name', 'one')
    done = torchrun(*flags, '--exp_name', 'two')
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('Weights, settings and') == 1
    one, two = (tmp_path / 'tiny' / name for name in ('one', 'two'))
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    rows = rows_of(one)
    assert len(rows) == rows[-1]['step']
    n_windows = int(re.search(r'([\d,]+) windows of', done.stdout)[1].replace(',', ''))
    assert n_windows % 47 == 1, 'the last batch is to leave one of the two without a window'
    for ours, theirs in zip(rows_of(two), rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    weights, expected = (torch.load(folder / 'state_2.pt', weights_only=True) for folder in (two, one))
    for name in expected:
        if not name.endswith('key.bias'):  # its true gradient is 0: Adam follows rounding noise
            np.testing.assert_allclose(weights[name], expected[name], atol=1e-4, err_msg=name)

    resumed = torchrun(*flags, '--exp_name', 'two', '--n_epochs', '3')
    assert resumed.returncode == 0, resumed.stderr
    start('train', *flags, '--exp_name', 'one', '--n_epochs', '3')
    for ours, theirs in zip(rows_of(two), rows_of(one), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_processes_end_without_an_error_after_training_and_with_nothing_to_do(recording, tmp_path):  # noqa: F811
    flags = ('--dataset', 'tiny', '--dataset_path', recording, '--logbase', tmp_path, *UNEVEN, '--n_epochs', '1')
    for k in range(N_ENDS):
        done = torchrun(*flags, '--exp_name', k // 2)  # the second time it is finished
        assert done.returncode == 0, done.stderr
        assert 'terminate called' not in done.stderr
        assert 'Weights, settings and' in done.stdout


def test_alone_nothing_changes():
    distributed, device = connect(torch.device('cpu'))
    assert (distributed, device) == (Distributed(), torch.device('cpu'))
    assert distributed.is_main
    assert distributed.any(True, False) == [True, False]
    assert distributed.all_gather('it') == ['it']
    assert distributed.shard(torch.arange(3)).tolist() == [0, 1, 2]


def test_shares_cover_a_batch_once_and_may_be_empty():
    for n in range(6):
        shares = [Distributed(rank, 4).shard(torch.arange(n)).tolist() for rank in range(4)]
        assert torch.cat([torch.tensor(share) for share in shares]).tolist() == list(range(n))
    assert not Distributed(1, 2).is_main
