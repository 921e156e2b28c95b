"""When a checkpoint is due, what a signal does, and what a restart deletes; whole runs are in test_resume.py."""

import os
import signal
import subprocess

import pytest
import torch

from trajectory.storage.checkpoints import (
    NAME,
    Checkpoints,
    catch_signals,
    clear_run,
    find_checkpoint,
    random_state,
    set_random_state,
)
from trajectory.storage.run_folder import lock_folder
from trajectory.utils.errors import InputError


def test_a_checkpoint_is_due_by_updates_or_by_the_clock(tmp_path):
    assert [Checkpoints(tmp_path, {}, steps=3).are_due(n) for n in (1, 2, 3, 6)] == [False, False, True, True]
    assert Checkpoints(tmp_path, {}, minutes=0).are_due(1)
    assert not Checkpoints(tmp_path, {}, minutes=60).are_due(1)
    assert not Checkpoints(tmp_path, {}).are_due(1)


def test_a_checkpoint_comes_back(tmp_path):
    assert find_checkpoint(tmp_path, {'seed': 1}) is None
    Checkpoints(tmp_path, {'seed': 1}).save({'weights': torch.ones(2), 'n': 3})
    found = find_checkpoint(tmp_path, {'seed': 1})
    assert (found['n'], found['weights'].tolist()) == (3, [1, 1])


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_presses_the_switch_for_as_long_as_it_is_watched(signum):
    before = signal.getsignal(signum)
    with catch_signals() as stop:
        assert not stop
        os.kill(os.getpid(), signum)
        assert stop
        assert stop.signum == signum
        os.kill(os.getpid(), signum)  # torchrun's echo of what the terminal sent
    assert signal.getsignal(signum) == before


def test_a_second_interrupt_after_a_while_does_not_wait():
    with catch_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        stop._pressed_at -= 10
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_clearing_a_run_leaves_what_is_not_of_it(tmp_path):
    for name in ('resume.pt', 'state_3.pt', 'notes.txt'):
        (tmp_path / name).touch()
    (tmp_path / 'tensorboard').mkdir()
    clear_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_random_numbers_go_on_where_they_were():
    state = random_state()
    first = torch.rand(3)
    set_random_state(state)
    assert torch.equal(torch.rand(3), first)


def test_what_cannot_be_deleted_is_named(tmp_path):
    (tmp_path / NAME).mkdir()  # as on a read-only disk, which refuses root too
    (tmp_path / 'state_1.pt').touch()
    with pytest.raises(InputError, match=r'cannot delete .*resume.pt: Is a directory'):
        clear_run(tmp_path)
    assert (tmp_path / 'state_1.pt').exists()


def test_a_run_on_a_read_only_disk_is_refused(tmp_path):
    """Where this process may mount one."""
    mount = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'ro', 'none', tmp_path], check=False, capture_output=True)
    if mount.returncode:
        pytest.skip('no disk can be mounted here')
    try:
        with pytest.raises(InputError, match='Read-only file system'), lock_folder(tmp_path):
            pass
    finally:
        subprocess.run(['umount', tmp_path], check=True)
