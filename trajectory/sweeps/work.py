"""Run one variant, on whichever machine it came to, and say how it ended.

The run's words go to `sweep.log` in its folder; while it lasts the file is locked, so that no two runs share a folder.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trajectory.sweeps.description import ROOT, Variant
from trajectory.utils.files import mkdir

SECRETS = ('AZURE_CLIENT_SECRET', 'AZURE_STORAGE_CONNECTION_STRING', 'AZURE_STORAGE_ACCESS_KEY', 'AZURE_VM_PASSWORD')
PATIENCE = 30  # seconds that a killed run may take to let go of its folder
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
CHILDREN = set()  # processes of runs that are under way


class Killed(Exception):
    """The run was ended from outside, as by a machine that ran out of memory; started again, it goes on."""


@dataclass(frozen=True)
class Outcome:
    """How a variant ended.

    status : done, skipped, failed, or launched, where nobody waits for the end
    why    : it failed
    """

    variant: Variant
    status: str
    why: str = ''


def run_variant(variant: Variant, cwd: Path, changes: Mapping[str, str] | None = None) -> str:
    """Run a variant to its end.

    cwd     : the folder that relative paths start from
    changes : of the environment
    returns : what is wrong, or nothing; raises `Killed` where another try may do better
    """
    folder = Path(cwd, variant.folder)
    mkdir(folder)
    with open(folder / variant.log.name, 'ab') as log:
        if not lock(log):
            return 'another process is running it'
        log.write(f'\n$ {variant.command_line}\n'.encode())
        log.flush()
        begin = log.tell()
        command = [sys.executable, str(ROOT / variant.script), *variant.flags]
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(changes),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent if sys.platform == 'linux' else None,
        )
        CHILDREN.add(child)
        try:
            code = child.wait()
        except BaseException:  # this process is asked to end: the run may save itself
            child.terminate()
            child.wait(PATIENCE)
            raise
        finally:
            CHILDREN.discard(child)
    if code < 0 or code == 128 + signal.SIGTERM:
        name = signal.Signals(-code if code < 0 else signal.SIGTERM).name
        raise Killed(f'killed by {name}')
    return last_words(folder / variant.log.name, begin) or f'exit code {code}' if code else ''


def retrying(run, retries: int, stop=False) -> str:
    """Call `run()`, and again as often as it is killed.

    stop    : true once it is not to be called again
    returns : what is wrong, or nothing
    """
    why = ''
    for attempt in range(retries + 1):
        try:
            return run()
        except Killed as killed:
            why = f'{killed}, {attempt + 1} times' if attempt else str(killed)
        if stop:
            break
    return why


def terminate_children() -> None:
    """Ask the runs that are under way to save themselves and end."""
    for child in list(CHILDREN):
        child.terminate()


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a run: this one, without the cloud's secrets, which no run needs."""
    kept = {name: value for name, value in os.environ.items() if name not in SECRETS}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {**kept, 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1', **(changes or {})}


def lock(log) -> bool:
    """Lock a file for as long as this process or the one that inherits it lives; False if another holds it on."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)


def die_with_parent():
    """Have the system kill this process when the one that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


def last_words(path: Path, begin: int = 0) -> str:
    """Why a run failed: the error that its script named, or else the last line it wrote.

    begin : bytes of the log that are of earlier runs
    """
    with open(path, 'rb') as file:
        file.seek(begin)
        lines = file.read().decode(errors='replace').replace('\r', '\n').split('\n')
    named = [line for line in lines if line.partition(': error: ')[0].endswith('.py')]
    return next((line.strip() for line in reversed(named or lines) if line.strip()), '')
