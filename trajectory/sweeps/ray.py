"""Run a sweep on Ray: a cluster of this machine alone, or one that is running already.

A variant is a task; it is tried again, and goes on where it was, when its worker or its machine dies.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

from trajectory.sweeps.description import ROOT, Variant
from trajectory.sweeps.work import Killed, Outcome, environment, run_variant
from trajectory.utils.errors import InputError

OBJECT_STORE_BYTES = 10**8  # variants and their ends are small


def run(
    variants: list[Variant],
    workers: int | None = None,
    retries: int = 0,
    gpus: float | None = None,
    cpus: float = 1,
    address: str | None = None,
) -> Iterator[Outcome]:
    """Run the variants, and yield each as it ends.

    workers : processes at once on a cluster of this machine alone; by default as many as its cores and GPUs admit
    gpus    : share of a GPU that each takes; by default a whole one if the cluster has any
    cpus    : cores that each takes
    address : of a running cluster, `auto` for the one that this machine belongs to
    """
    ray = import_ray()
    address = address or os.environ.get('RAY_ADDRESS')
    quiet = {'log_to_driver': False, 'logging_level': 'error'}
    if address:
        ray.init(address, runtime_env={'env_vars': {'PYTHONPATH': str(ROOT)}}, **quiet)
    else:
        os.environ.update(environment({'RAY_USAGE_STATS_ENABLED': '0'}))  # which the workers inherit
        ray.init(
            num_cpus=None if workers is None else math.ceil(workers * cpus),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
    try:
        present = ray.cluster_resources()
        gpus = min(1, present.get('GPU', 0)) if gpus is None else gpus
        if not address and gpus > present.get('GPU', 0):
            raise InputError(
                f'a variant is to have {gpus} GPUs, and this machine has {present.get("GPU", 0):.0f}.\n'
                '  Pass --gpus 0, or --address of a cluster that has some.'
            )
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries, max_calls=0, retry_exceptions=[Killed])(
            run_variant
        )
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
    except ray.exceptions.RayError as error:  # the worker or its machine died, too often
        return str(error).strip().partition('\n')[0]


def import_ray():
    """Ray, or what to do to have it."""
    try:
        import ray
    except ImportError as error:
        raise InputError('this engine needs Ray: pip install -c constraints.txt -e .[ray]') from error
    return ray
