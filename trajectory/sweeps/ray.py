"""Run a sweep on Ray: a cluster of this machine alone, or one that is running already.

A variant is a task; it is tried again, and goes on where it was, when its worker or its machine dies.
"""
import os
from collections.abc import Iterator
from pathlib import Path

from trajectory.sweeps.description import ROOT, Variant
from trajectory.sweeps.work import Killed, Outcome, run_variant
from trajectory.utils.errors import InputError

OBJECT_STORE_BYTES = 10 ** 8    # variants and their ends are small


def run(variants: list[Variant], workers: int | None = None, retries: int = 0, gpus: float | None = None,
        cpus: float = 1, address: str | None = None) -> Iterator[Outcome]:
    """Run the variants, and yield each as it ends.

    workers : processes at once on a cluster of this machine alone; by default as many as its cores and GPUs admit
    gpus    : share of a GPU that each takes; by default a whole one if the cluster has any
    cpus    : cores that each takes
    address : of a running cluster, `auto` for the one that this machine belongs to
    """
    ray = import_ray()
    address = address or os.environ.get('RAY_ADDRESS')
    alone = {} if address else {
        'num_cpus': None if workers is None else workers * cpus, 'object_store_memory': OBJECT_STORE_BYTES,
    }
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    ray.init(address, include_dashboard=False if alone else None, log_to_driver=False, logging_level='error',
             runtime_env={'env_vars': {'PYTHONPATH': str(ROOT)}}, **alone)
    try:
        present = ray.cluster_resources()
        gpus = min(1, present.get('GPU', 0)) if gpus is None else gpus
        if alone and gpus > present.get('GPU', 0):
            raise InputError(f'a variant is to have {gpus} GPUs, and this machine has {present.get("GPU", 0):.0f}.\n'
                             '  Pass --gpus 0, or --address of a cluster that has some.')
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries, max_calls=1,
                          retry_exceptions=[Killed])(run_variant)
        pending = {task.remote(variant, Path.cwd()): variant for variant in variants}
        while pending:
            (ended,), _ = ray.wait(list(pending), num_returns=1)
            why = reason(ray, ended)
            yield Outcome(pending.pop(ended), 'failed' if why else 'done', why)
    finally:
        ray.shutdown()


def reason(ray, ended) -> str:
    """What is wrong with a task that ended, or nothing."""
    try:
        return ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        return str(error.cause)
    except ray.exceptions.RayError as error:    # the worker or its machine died, too often
        return str(error).strip().partition('\n')[0]


def import_ray():
    """Ray, or what to do to have it."""
    try:
        import ray
    except ImportError as error:
        raise InputError('this engine needs Ray: pip install -c constraints.txt -e .[ray]') from error
    return ray
