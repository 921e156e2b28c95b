"""Process-wide settings: seeds, CPU threads and the memory allocator."""

import ctypes
import os
import random
import resource

import numpy as np
import torch

from trajectory.utils.errors import InputError, check_positive

MAX_SEED = 2**32 - 1  # numpy takes no more
MAX_THREADS = 1024  # more than a machine has; torch dies of a hundred thousand
SPARE_FILES = 200  # that a process has open besides those of its episodes: libraries, data, devices


def check_seed(seed: int):
    """Raise InputError for a seed that numpy does not take."""
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f'a seed is between 0 and {MAX_SEED}, got {seed}.\n  Pass --seed 42, say.')


def set_seed(seed: int):
    """Seed the global generators: Python's, numpy's and torch's, on every device."""
    check_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  simulators and datasets of others draw from it
    torch.manual_seed(seed)


def set_threads(threads: int | None, default: int | None = None):
    """Set the number of CPU threads of torch; without either number, torch's own default stays."""
    number = threads if threads is not None else default
    if number is not None:
        check_positive('threads', number)
        if number > MAX_THREADS:
            raise InputError(f'threads must be at most {MAX_THREADS}, got {number}.\n  Pass --threads 1, say.')
        torch.set_num_threads(number)


def available_threads() -> int:
    """CPU threads for this process to use: OMP_NUM_THREADS where it is set, else all cores."""
    asked = os.environ.get('OMP_NUM_THREADS', '')
    return max(1, int(asked)) if asked.isdecimal() else os.cpu_count() or 1


def allow_open_files(n_episodes: int):
    """Raise the process' limit of open files, where the system lets it, for episodes that each keep one open."""
    wanted = n_episodes + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InputError(
            f'{n_episodes} episodes at once need {wanted} open files, and a process may have {hard} here.\n'
            f'  Pass --n_episodes {max(1, hard - SPARE_FILES)} or less, with another --seed and --suffix for the rest.'
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def tune_malloc() -> bool:
    """Make glibc's malloc keep freed blocks for the next tensors.    returns : whether it does

    By default it returns large blocks to the system and faults their pages in again, a tenth of the time of a plan.
    """
    trim_threshold, mmap_threshold, top_pad = -1, -3, -2  # as glibc numbers them
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another library than glibc, another system
        return False
    return all([mallopt(mmap_threshold, 2**25), mallopt(trim_threshold, 2**31 - 1), mallopt(top_pad, 2**26)])
