"""Run a sweep on a Slurm cluster: an array of jobs, submitted by submitit on a machine that has `sbatch`.

A job that runs out of time, or makes way for another, is queued again, and goes on where it was.
"""

import math
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from trajectory.sweeps.description import ROOT, Variant
from trajectory.sweeps.work import Outcome, retrying, run_variant
from trajectory.utils.errors import InputError

SECONDS_BETWEEN_LOOKS = 0.5


class Job:
    """What a machine of the cluster does; submitit asks it for a `checkpoint` before its time is over."""

    def __call__(self, variant: Variant, cwd: Path, retries: int) -> str:
        return retrying(lambda: run_variant(variant, cwd), retries)

    def checkpoint(self, *arguments):
        return import_submitit().helpers.DelayedSubmission(self, *arguments)


def run(
    variants: list[Variant],
    folder: Path,
    workers: int | None = None,
    retries: int = 0,
    gpus: float | None = None,
    cpus: float = 1,
    hours: float = 24,
    partition: str | None = None,
    cluster: str = 'slurm',
) -> Iterator[Outcome]:
    """Submit the variants, and yield each as it ends.

    folder    : for what submitit and Slurm write, on a disk that all machines share
    workers   : jobs at once; by default as many as the cluster admits
    gpus      : of each job, whole ones; by default one
    cpus      : cores of each job
    hours     : after which a job is queued again
    partition : of the cluster
    cluster   : submitit's name of what runs the jobs
    """
    submitit = import_submitit()
    gpus = 1 if gpus is None else gpus
    if gpus != int(gpus) or cpus != int(cpus):
        raise InputError(f'Slurm gives whole GPUs and cores, not {gpus} and {cpus}.\n  Pass --gpus 1 --cpus 4, say.')
    try:
        executor = submitit.AutoExecutor(folder, cluster=cluster)
    except RuntimeError as error:  # says that there is no sbatch
        raise InputError(
            f'{error}.\n  Start the sweep on a machine that submits to the cluster, or pass another --engine.'
        ) from error
    executor.update_parameters(
        name='trajectory',
        timeout_min=math.ceil(60 * hours),
        gpus_per_node=int(gpus),
        cpus_per_task=int(cpus),
        slurm_partition=partition,
        slurm_array_parallelism=workers or len(variants),
        slurm_setup=[f'export PYTHONPATH={shlex.quote(str(ROOT))}'],
    )
    with executor.batch():
        jobs = [executor.submit(Job(), variant, Path.cwd(), retries) for variant in variants]
    pending = dict(zip(jobs, variants, strict=True))
    while pending:
        ended = [job for job in pending if job.done()]
        for job in ended:
            why = reason(job)
            yield Outcome(pending.pop(job), 'failed' if why else 'done', why)
        if not ended:
            time.sleep(SECONDS_BETWEEN_LOOKS)


def reason(job) -> str:
    """What is wrong with a job that ended, or nothing."""
    from submitit.core.utils import UncompletedJobError

    error = job.exception()
    if error is None:
        return job.result()
    lines = [line for line in str(error).splitlines() if line.strip()]
    return ' '.join(lines[:2]) if isinstance(error, UncompletedJobError) else lines[-1]  # it left nothing; it raised


def import_submitit():
    """Submitit, or what to do to have it."""
    try:
        import submitit
        import submitit.helpers
    except ImportError as error:
        raise InputError('this engine needs submitit: pip install -c constraints.txt -e .[slurm]') from error
    return submitit
