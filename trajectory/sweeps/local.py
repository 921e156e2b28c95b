"""Run a sweep on this machine: one process a device, or as many as are asked for."""

import os
import queue
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import torch

from trajectory.storage.checkpoints import catch_signals
from trajectory.sweeps.description import Variant
from trajectory.sweeps.work import Outcome, retrying, run_variant, terminate_children
from trajectory.utils.errors import Stopped

SECONDS_BETWEEN_LOOKS = 0.5


def run(variants: list[Variant], workers: int | None = None, retries: int = 0) -> Iterator[Outcome]:
    """Run the variants, and yield each as it ends.

    workers : processes at once; by default one a CUDA device, or one on a machine without
    """
    n_devices = torch.cuda.device_count()
    workers = workers or max(1, n_devices)
    free = queue.SimpleQueue()
    for number in range(workers):
        free.put(number)

    def work(variant, stop):
        number = free.get()
        try:
            changes = {'CUDA_VISIBLE_DEVICES': visible_device(number, n_devices)} if n_devices else {}
            if 'OMP_NUM_THREADS' not in os.environ:  # else each takes all cores, and they wait for each other
                changes['OMP_NUM_THREADS'] = str(max(1, os.cpu_count() // workers))
            return retrying(lambda: run_variant(variant, Path.cwd(), changes), retries, stop)
        finally:
            free.put(number)

    pool = ThreadPoolExecutor(workers)
    with catch_signals() as stop:
        futures = {pool.submit(work, variant, stop): variant for variant in variants}
        pending = set(futures)
        try:
            while pending and not stop:
                done, pending = wait(pending, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
                for future in done:
                    why = future.result()
                    yield Outcome(futures[future], 'failed' if why else 'done', why)
        finally:
            terminate_children()  # none is left, unless this process is asked to end
            pool.shutdown(cancel_futures=True)
    if stop:
        raise Stopped(
            'stopped; the runs that were under way have saved themselves, and the same command goes on', stop.signum
        )


def visible_device(number: int, n_devices: int) -> str:
    """The device of the worker of this number, by the name that CUDA has for it."""
    given = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    names = given.split(',') if given else [str(device) for device in range(n_devices)]
    return names[number % n_devices]
