"""Measure loading: from recorded transitions in HDF5 to tokens in memory.

    python benchmarks/bench_load.py [--transitions 1000000]

Random numbers in halfcheetah's shape, 23 columns, in episodes of 1,000 steps. Prints one JSON line; the peak is of
the process that loads, libraries included. Batches are assembled as a training step assembles them.
"""

import argparse
import json
import multiprocessing
import platform
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from trajectory.datasets import DiscretizedDataset
from trajectory.datasets.hdf5 import read_episodes
from trajectory.utils import peak_memory

OBSERVATION_DIM, ACTION_DIM, EPISODE_STEPS = 17, 6, 1000


def record(path, n):
    """Write a dataset as D4RL does, its blocks compressed."""
    import h5py

    rng = np.random.default_rng(0)
    with h5py.File(path, 'w') as file:
        for name, width in (('observations', OBSERVATION_DIM), ('actions', ACTION_DIM), ('rewards', 0)):
            numbers = rng.normal(size=(n, width) if width else n).astype(np.float32)
            file.create_dataset(name, data=numbers, compression='gzip', compression_opts=4)
        file['terminals'] = np.zeros(n, dtype=bool)
        file['timeouts'] = np.arange(1, n + 1) % EPISODE_STEPS == 0


def load(path, batch_size=64, n_batches=200):
    """Load once, and print what it took."""
    before = peak_memory(torch.device('cpu'))
    started = time.perf_counter()
    env = SimpleNamespace(name='benchmark', get_dataset=lambda: read_episodes(path))
    dataset = DiscretizedDataset(env, N=100, sequence_length=10, step=1, penalty=-100)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(n_batches):
        dataset.gather(torch.randint(len(dataset), (batch_size,)))
    batch_seconds = (time.perf_counter() - started) / n_batches
    print(
        json.dumps(
            {
                'transitions': len(dataset.joined_raw),
                'windows': len(dataset),
                'machine': platform.processor() or platform.machine(),
                'seconds': round(seconds, 2),
                'peak_memory_gb': round(peak_memory(torch.device('cpu')) / 1e9, 2),
                'before_gb': round(before / 1e9, 2),
                'tokens_mb': round(dataset.tokens.numel() * dataset.tokens.element_size() / 1e6, 1),
                'batch_of_64_ms': round(1000 * batch_seconds, 3),
            }
        ),
        flush=True,
    )


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--transitions', type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for work, given in (
            (record, (Path(folder, 'recorded.hdf5'), args.transitions)),
            (load, (Path(folder, 'recorded.hdf5'),)),
        ):  # each in a process, and a memory, of its own
            process = multiprocessing.get_context('spawn').Process(target=work, args=given)
            process.start()
            process.join()
