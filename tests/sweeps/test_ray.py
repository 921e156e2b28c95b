"""The paper's table, small, on a real Ray: a worker is killed, a variant fails, a second start does what is missing."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from plotting import report, table
from plotting.read_results import load_results
from trajectory.datasets.hdf5 import COLUMNS, write_episodes
from trajectory.environments.making import make_environment

pytest.importorskip('ray', reason='pip install -e .[ray]')

ROOT = Path(__file__).parents[2]
ROBOTS = {'hopper': 'Hopper-v4', 'walker2d': 'Walker2d-v4'}
SMALL = {
    'device': 'cpu',
    'threads': 1,
    'N': 10,
    'n_layer': 1,
    'n_head': 1,
    'n_embd': 8,
    'n_epochs': 1,
    'batch_size': 64,
    'subsampled_sequence_length': 3,
    'horizon': 2,
    'beam_width': 4,
    'max_context_transitions': 3,
    'plan_freq': 2,
    'renderer': None,  # to the end of the episodes: such models soon fall
}
SECRETS = {name: f'secret-{name.lower()}' for name in ('AZURE_CLIENT_SECRET', 'AZURE_STORAGE_CONNECTION_STRING')}
FAILING = 'walker2d-medium-v2/gpt/table/2'
PATIENCE = 900  # seconds, on a machine that is busy


def record(path, environment, n_steps=200):
    """Write episodes of a robot under random actions, as D4RL would: without a word on their environment."""
    env = make_environment(environment, 'd4rl')
    rng = np.random.default_rng(0)
    columns = {name: [] for name in COLUMNS}
    observation, _ = env.reset(seed=0)
    for _ in range(n_steps):
        action = rng.uniform(-1, 1, env.action_space.shape)
        following, reward, terminated, _, _ = env.step(action)
        for name, value in zip(COLUMNS, (observation, action, reward, terminated, False), strict=True):
            columns[name].append(value)
        observation = env.reset()[0] if terminated else following
    write_episodes(path, {name: np.array(column) for name, column in columns.items()}, {})


def training_processes(logbase):
    """{folder: process} of the runs of train.py under way."""
    found = {}
    for process in Path('/proc').glob('[0-9]*'):
        try:
            words = (process / 'cmdline').read_text().split('\0')
        except OSError:  # it ended
            continue
        if str(ROOT / 'scripts/train.py') in words and str(logbase) in words:
            found[words[words.index('--exp_name') + 1], words[words.index('--dataset') + 1]] = process
    return found


def parent_of(process):
    return int(re.search(r'PPid:\s+(\d+)', (process / 'status').read_text())[1])


@pytest.fixture(scope='module')
def sweep(tmp_path_factory):
    """Two starts of the sweep: what each printed, and the moment of the second."""
    folder = tmp_path_factory.mktemp('table')
    logbase, data, scratch = folder / 'logs', folder / 'data', tempfile.mkdtemp(prefix='ray', dir='/tmp')
    data.mkdir()
    for robot, environment in ROBOTS.items():
        record(data / f'{robot}_medium-v2.hdf5', environment)
    (logbase / FAILING).mkdir(parents=True)
    (logbase / FAILING / 'resume.pt').write_text('not a checkpoint')
    flags = [word for name, value in SMALL.items() for word in (f'--{name}', str(value))]
    command = [
        sys.executable,
        'azure/launch_table.py',
        '--dataset',
        *(f'{robot}-medium-v2' for robot in ROBOTS),
        '--n_models',
        '3',
        '--n_episodes',
        '2',
        '--logbase',
        str(logbase),
        *flags,
        '--engine',
        'ray',
        '--workers',
        '2',
    ]
    environment = {**os.environ, **SECRETS, 'D4RL_DATASET_DIR': str(data), 'RAY_TMPDIR': scratch}
    environment.pop('RAY_ADDRESS', None)

    def start():
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    first, seen, deadline = start(), {}, time.monotonic() + PATIENCE
    while len(seen) < 3 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        seen.update(training_processes(logbase))
    killed, process = list(seen.items())[-1]  # the third to begin
    os.kill(parent_of(process), signal.SIGKILL)
    said = [first.communicate(timeout=PATIENCE)[0]]
    codes = [first.returncode]

    (logbase / FAILING / 'resume.pt').unlink()
    moment = time.time()
    second = start()
    said.append(second.communicate(timeout=PATIENCE)[0])
    codes.append(second.returncode)
    yield SimpleNamespace(logbase=logbase, said=said, codes=codes, killed=killed, moment=moment, scratch=scratch)
    shutil.rmtree(scratch, ignore_errors=True)


def test_a_killed_worker_and_a_failing_variant_hold_up_nobody(sweep):
    assert sweep.codes[0] == 1
    assert sweep.said[0].endswith('10 done, 2 failed\n'), sweep.said[0]
    assert re.search(
        rf'failed +\S+{FAILING}\n +train.py: error: \S+/resume.pt cannot be read: .+\n'
        rf' +\S+{FAILING}/sweep.log\n',
        sweep.said[0],
    )
    assert re.search(
        rf'failed +\S+/walker2d-medium-v2/plans/table/\S+/4\n +not started: \S+{FAILING} is not trained\n',
        sweep.said[0],
    )


def test_the_killed_run_was_started_again(sweep):
    exp_name, dataset = sweep.killed
    for run in (sweep.logbase / dataset / 'gpt/table').iterdir():
        starts = (run / 'sweep.log').read_text().count('$ python scripts/train.py')
        twice = run == sweep.logbase / dataset / exp_name or str(run).endswith(FAILING)
        assert starts == 1 + twice, run


def test_a_second_start_does_only_what_is_missing(sweep):
    assert sweep.codes[1] == 0
    assert sweep.said[1].endswith('2 done, 10 skipped\n'), sweep.said[1]
    touched = {path.parent.name for path in sweep.logbase.glob('**/sweep.log') if path.stat().st_mtime > sweep.moment}
    assert touched == {'2', '4'}


def test_the_results_become_the_table(sweep, capsys):
    for experiment in load_results(sweep.logbase):
        assert len(experiment.rollouts) == 6, experiment
        assert len({rollout['seed'] for rollout in experiment.rollouts}) == 6
        assert len(set(experiment.returns)) > 2, 'models and episodes differ'
    table.main(['--results', str(sweep.logbase), '--exp_name', 'plans/table/*'])
    said = capsys.readouterr().out
    medium = [line for line in said.splitlines() if line.startswith('Medium & ')]
    assert [line.count('$-$') for line in medium if 'Hopper' in line or 'Walker2d' in line] == [0, 0]
    assert (
        '%   hopper-medium-v2 plans/table/freq2_H2_beam4: TT (rerun), n = 6, environment Hopper-v4, physics d4rl'
        in said
    )
    assert 'beware' not in said
    report.main([str(sweep.logbase)])
    page = (sweep.logbase / 'report.html').read_text()
    assert all(f'{robot}-medium-v2' in page for robot in ROBOTS)


def test_no_secret_is_left_anywhere(sweep):
    written = [path for place in (sweep.logbase, Path(sweep.scratch)) for path in place.rglob('*') if path.is_file()]
    assert [path for path in written if path.name == 'args.json']
    for secret in SECRETS.values():
        assert not [path for path in written if secret.encode() in path.read_bytes()]
        assert not [said for said in sweep.said if secret in said]
