"""Jobs run through submitit: for real on this machine, and as the script that a cluster would be given."""

import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest

from trajectory.sweeps import slurm
from trajectory.sweeps.description import Variant
from trajectory.utils.errors import InputError

pytest.importorskip('submitit', reason='pip install -e .[slurm]')

SECRET = 'secret-of-the-storage'


@pytest.fixture
def variants(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('AZURE_STORAGE_CONNECTION_STRING', SECRET)
    script = tmp_path / 'script.py'
    script.write_text('import sys; print(sys.argv[1]); 1 / int(sys.argv[1])')
    return [Variant(str(script), (name,), Path(name), (Path(name),), (), {}) for name in ('1', '0')]


def test_a_job_that_makes_way_goes_on_later(variants, tmp_path):
    import submitit

    executor = submitit.LocalExecutor(tmp_path / 'slurm')
    executor.update_parameters(timeout_min=60)
    (tmp_path / 'script.py').write_text(
        'import os, pathlib, time\nbegun = pathlib.Path("begun")\nagain = begun.exists()\n'
        'begun.write_text(f"{os.getppid()}\\n")\nagain or time.sleep(300)\nprint("went on")'
    )
    job = executor.submit(slurm.Job(), variants[0], tmp_path, 0)
    begun = tmp_path / 'begun'
    while not (begun.exists() and begun.read_text().endswith('\n')):
        assert not job.done(), job.stderr()
        time.sleep(0.05)
    os.kill(int(begun.read_text()), signal.SIGUSR2)  # as Slurm does before it takes the machine
    assert job.result() == ''
    log = (tmp_path / '1/sweep.log').read_text()
    assert log.count(variants[0].command_line) == 2
    assert log.endswith('went on\n')


# Start the jobs of the array, as Slurm's commands would on some machine
JOB = """
export SLURM_JOB_ID=7_$1 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$1 SLURM_NTASKS=1
export SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
exec bash script
"""
SBATCH = """#!/bin/bash
echo "$@" > call
cp "${@: -1}" script
for task in 0 1; do bash job $task > job_$task.txt 2>&1 & done
echo Submitted batch job 7
"""
SRUN = f"""#!{sys.executable}
import os, sys
command = sys.argv[[word.startswith('/') and 'python' in word for word in sys.argv].index(True, 1):]
os.execv(command[0], command)
"""
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList\n7_0|COMPLETED|n1\n7_1|COMPLETED|n1'
"""


def test_a_cluster_is_asked_for_one_array(variants, tmp_path, monkeypatch):
    commands = tmp_path / 'bin'
    commands.mkdir()
    (tmp_path / 'job').write_text(JOB)
    for name, text in (('sbatch', SBATCH), ('srun', SRUN), ('sacct', SACCT)):
        (commands / name).write_text(text)
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv('PATH', f'{commands}{os.pathsep}{os.environ["PATH"]}')
    outcomes = list(slurm.run(variants, tmp_path / 'slurm', workers=1, cpus=4, hours=1.5, partition='big'))
    assert {outcome.variant.flags[0]: (outcome.status, outcome.why) for outcome in outcomes} == {
        '1': ('done', ''),
        '0': ('failed', 'ZeroDivisionError: division by zero'),
    }
    script = (tmp_path / 'script').read_text()
    for line in (
        '--array=0-1%1',
        '--cpus-per-task=4',
        '--gpus-per-node=1',
        '--time=90',
        '--partition=big',
        '--signal=USR2@90',
        '--open-mode=append',
    ):
        assert f'#SBATCH {line}\n' in script
    assert f'\nexport PYTHONPATH={slurm.ROOT}\n' in script
    written = b''.join(path.read_bytes() for path in tmp_path.rglob('*') if path.is_file())
    assert SECRET.encode() not in written


def test_what_slurm_cannot_give_is_said(variants, tmp_path):
    with pytest.raises(InputError, match=r'whole GPUs and cores, not 0.5 and 1'):
        next(slurm.run(variants, tmp_path, gpus=0.5))
    with pytest.raises(InputError, match='another --engine'):
        next(slurm.run(variants, tmp_path))
