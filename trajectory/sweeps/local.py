"""Run a sweep on this machine: one process a device, or as many as are asked for."""

import os
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch

from trajectory.sweeps.description import Variant
from trajectory.sweeps.work import Outcome, retrying, run_variant


def run(variants: list[Variant], workers: int | None = None, retries: int = 0) -> Iterator[Outcome]:
    """Run the variants, and yield each as it ends.

    workers : processes at once; by default one a CUDA device, or one on a machine without
    """
    n_devices = torch.cuda.device_count()
    workers = workers or max(1, n_devices)
    free = queue.SimpleQueue()
    for number in range(workers):
        free.put(number)

    def work(variant):
        number = free.get()
        try:
            changes = {'CUDA_VISIBLE_DEVICES': visible_device(number, n_devices)} if n_devices else {}
            if 'OMP_NUM_THREADS' not in os.environ:  # else each takes all cores, and they wait for each other
                changes['OMP_NUM_THREADS'] = str(max(1, os.cpu_count() // workers))
            return retrying(lambda: run_variant(variant, Path.cwd(), changes), retries)
        finally:
            free.put(number)

    pool = ThreadPoolExecutor(workers)
    try:
        futures = {pool.submit(work, variant): variant for variant in variants}
        for future in as_completed(futures):
            why = future.result()
            yield Outcome(futures[future], 'failed' if why else 'done', why)
    finally:
        pool.shutdown(cancel_futures=True)


def visible_device(number: int, n_devices: int) -> str:
    """The device of the worker of this number, by the name that CUDA has for it."""
    given = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    names = given.split(',') if given else [str(device) for device in range(n_devices)]
    return names[number % n_devices]
