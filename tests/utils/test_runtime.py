"""Seeds, threads and the allocator of a process."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from trajectory import utils
from trajectory.utils import InputError, set_seed
from trajectory.utils.runtime import available_threads


@pytest.mark.parametrize('seed', [-1, 2**32])
def test_a_seed_that_numpy_cannot_take_is_an_error(seed):
    with pytest.raises(InputError, match=f'between 0 and 4294967295, got {seed}'):
        set_seed(seed)


def test_torch_uses_as_many_threads_as_asked_for():
    before = torch.get_num_threads()
    try:
        utils.set_threads(3)
        assert torch.get_num_threads() == 3
        utils.set_threads(None)
        assert torch.get_num_threads() == 3
        utils.set_threads(None, default=2)
        assert torch.get_num_threads() == 2
        utils.set_threads(1, default=2)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(('asked', 'expected'), [('3', 3), ('0', 1), ('', os.cpu_count()), ('2,1', os.cpu_count())])
def test_a_process_uses_all_cores_unless_it_is_told(monkeypatch, asked, expected):
    monkeypatch.setenv('OMP_NUM_THREADS', asked)
    assert available_threads() == expected


@pytest.mark.parametrize('threads', [0, -1])
def test_a_number_below_one_is_refused_with_the_flag_to_pass(threads):
    with pytest.raises(InputError, match=rf'threads must be at least 1, got {threads}.\n.*--threads 1'):
        utils.set_threads(threads)
    utils.check_positive('horizon', 1)


def test_more_threads_than_any_machine_has_are_refused():
    with pytest.raises(InputError, match=r'threads must be at most 1024, got 100000.\n.*--threads 1'):
        utils.set_threads(100_000)


FAULTS = """
import resource
from trajectory.utils import tune_malloc
import torch

def pages_paid_for():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        [torch.ones(2 ** 21) for _ in range(10)]     # 80 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
assert tune_malloc()
pages_paid_for()
print(pages_paid_for())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='needs the C library of GNU')
def test_freed_memory_is_kept():
    done = subprocess.run([sys.executable, '-c', FAULTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100  # without it some 60,000, for what happens to lie behind them


LIMITED = """
import resource
from trajectory.utils.runtime import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1024))
allow_open_files(500)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (700, 1024)
allow_open_files(2000)
"""


def test_more_episodes_than_a_process_may_have_files_are_refused():
    done = subprocess.run([sys.executable, '-c', LIMITED], capture_output=True, text=True, check=False)
    assert 'InputError: 2000 episodes at once need 2200 open files, and a process may have 1024 here' in done.stderr
    assert 'Pass --n_episodes 824 or less' in done.stderr
