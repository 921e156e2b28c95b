"""A run that is killed, stopped, or out of disk goes on as if nothing had happened."""

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.scripts.test_train_and_plan import TINY_MODEL, random_episodes, refused, start
from trajectory.datasets.hdf5 import write_episodes

ROOT = Path(__file__).parents[2]
LONG = (
    *TINY_MODEL,
    '--n_epochs',
    '12',
    '--batch_size',
    '32',
    '--log_freq',
    '3',
    '--save_steps',
    '2',
    '--n_saves',
    '4',
    '--threads',
    '1',
)  # sums are rounded otherwise with other numbers of threads
N_KILLS = 20
N_RUNS = int(os.environ.get('KILLED_RUNS', 1))  # each killed so often, at other places


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'tiny.hdf5'
    write_episodes(path, random_episodes(), {'env': 'Hopper-v4', 'physics': 'd4rl', 'sources': 'random actions'})
    return path


@pytest.fixture
def train(recording, tmp_path):
    """Flags of a run called `name`."""
    return lambda name, *flags: (
        '--dataset',
        'tiny',
        '--dataset_path',
        str(recording),
        '--logbase',
        str(tmp_path),
        '--exp_name',
        name,
        *LONG,
        *flags,
    )


@pytest.fixture(scope='module')
def uninterrupted(recording, tmp_path_factory):
    """The folder of the run that nothing happened to."""
    logbase = tmp_path_factory.mktemp('logs')
    start('train', '--dataset', 'tiny', '--dataset_path', recording, '--logbase', logbase, *LONG)
    return logbase / 'tiny/gpt/azure'


@pytest.fixture(scope='module')
def processes():
    """Starts processes that have imported everything already."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['scripts.train', 'scripts.plan', 'trajectory.environments.making', 'h5py'])
    return context


def quietly(flags):
    """A process' work: training, without words."""
    sys.stdout = sys.stderr = open(os.devnull, 'w')
    torch.set_num_threads(1)
    start('train', *flags)


def rows_of(folder):
    """What the run logged, but for how long it took."""
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [{name: number for name, number in row.items() if name != 'tokens_per_second'} for row in rows]


def assert_same(folder, expected):
    """Weights of every epoch kept, and every row, to the last bit."""
    assert [path.name for path in sorted(folder.glob('state_*.pt'))] == [
        'state_12.pt',
        'state_3.pt',
        'state_6.pt',
        'state_9.pt',
    ]
    for path in expected.glob('state_*.pt'):
        ours, theirs = (torch.load(each / path.name, weights_only=True) for each in (folder, expected))
        for name in theirs:
            assert torch.equal(ours[name], theirs[name]), f'{path.name}: {name}'
    assert rows_of(folder) == rows_of(expected)


def copy_of(folder, path):
    return Path(shutil.copytree(folder, path))


def n_rows(folder):
    path = folder / 'metrics.jsonl'
    return path.read_bytes().count(b'\n') if path.exists() else 0


@pytest.mark.parametrize('seed', range(N_RUNS))
def test_a_run_killed_twenty_times_ends_with_the_same_weights(train, tmp_path, uninterrupted, processes, seed):
    rng = np.random.default_rng(seed)
    folder, killed_after = tmp_path / 'tiny/killed', []
    for _ in range(N_KILLS):
        before = n_rows(folder)
        child = processes.Process(target=quietly, args=[train('killed')])
        child.start()
        deadline = time.monotonic() + 30
        while n_rows(folder) <= before and child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL, 'the run ended before it could be killed: make it longer'
        killed_after.append(n_rows(folder))
    assert len(set(killed_after)) > N_KILLS // 2, 'most kills hit the same place'
    last = processes.Process(target=quietly, args=[train('killed')])
    last.start()
    last.join(timeout=60)
    assert last.exitcode == 0
    assert_same(folder, uninterrupted)
    assert not [path.name for path in folder.iterdir() if path.name.startswith('.')], 'half-written files were left'


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_run_and_says_so(train, tmp_path, uninterrupted, signum):
    folder = tmp_path / 'tiny/stopped'
    command = [sys.executable, 'scripts/train.py', *map(str, train('stopped', '--save_steps', 'None'))]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    running = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while n_rows(folder) < 3 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(signum)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 128 + signum
    assert 'Traceback' not in said
    n_updates = torch.load(folder / 'resume.pt', weights_only=True)['counters']['n_updates']
    assert n_updates >= 3
    assert f'train.py: stopped after {n_updates} updates, and saved in {folder}/resume.pt; the same command' in said

    start('train', *train('stopped', '--save_steps', 'None'))
    assert_same(folder, uninterrupted)


def test_a_finished_run_trains_on_when_it_is_given_more_epochs(train, tmp_path, uninterrupted, caplog):
    caplog.set_level('INFO')
    start('train', *train('longer', '--n_epochs', '3', '--n_saves', '1'))
    assert 'going on' not in caplog.text
    start('train', *train('longer', '--n_epochs', '3', '--n_saves', '1'))
    assert 'going on after 30 of 30 updates' in caplog.text
    assert 'nothing is left to do; --n_epochs 4' in caplog.text
    start('train', *train('longer'))
    assert 'going on after 30 of 120 updates' in caplog.text
    assert_same(tmp_path / 'tiny/longer', uninterrupted)


def test_restart_starts_over(train, tmp_path, uninterrupted, caplog):
    caplog.set_level('INFO')
    start('train', *train('again', '--seed', '1', '--n_epochs', '13', '--n_saves', '13'))
    start('train', *train('again', '--restart'))
    assert 'going on' not in caplog.text
    assert_same(tmp_path / 'tiny/again', uninterrupted)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--batch_size', '16', '--seed', '7'], 'with other settings: batch_size was 32, is 16; seed was 42, is 7.\n'),
        (['--n_embd', '4'], 'n_embd was 8, is 4'),
        (['--termination_penalty', '-50'], 'termination_penalty was -100, is -50'),
        (['--attn_pdrop', '0.2'], 'attn_pdrop was 0.1, is 0.2'),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(train, tmp_path, uninterrupted, capfd, flags, message):
    folder = copy_of(uninterrupted, tmp_path / 'tiny/other')
    assert message in refused(capfd, folder, 'train', *train('other', *flags))
    assert '--restart' in refused(capfd, folder, 'train', *train('other', *flags))


def test_a_run_does_not_go_on_with_other_data(train, tmp_path, uninterrupted, capfd):
    folder = copy_of(uninterrupted, tmp_path / 'tiny/other')
    episodes = random_episodes()
    episodes['rewards'][::2] += 1
    write_episodes(tmp_path / 'changed.hdf5', episodes, {'env': 'Hopper-v4', 'physics': 'd4rl'})
    said = refused(capfd, folder, 'train', *train('other', '--dataset_path', tmp_path / 'changed.hdf5'))
    assert re.search(r'other settings: data was \d+ windows with checksum \w{8}, is \d+ windows with checksum', said)


def test_a_run_goes_on_with_another_learning_rate(train, tmp_path, uninterrupted):
    folder = copy_of(uninterrupted, tmp_path / 'tiny/slower')
    start('train', *train('slower', '--n_epochs', '13', '--learning_rate', '1e-5'))
    before, after = rows_of(folder)[-4:-3], rows_of(folder)[-1]
    assert before[0]['learning_rate'] > after['learning_rate']
    assert after['learning_rate'] < 1e-5


def cut(path):
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (cut, 'resume.pt cannot be read: '),
        (lambda path: path.write_bytes(b''), 'resume.pt cannot be read: '),
        (lambda path: torch.save([1, 2], path), 'resume.pt cannot be read: '),
        (Path.unlink, 'holds state_12.pt, state_3.pt, state_6.pt, state_9.pt, but no resume.pt to go on from'),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(train, tmp_path, uninterrupted, capfd, spoil, message):
    folder = copy_of(uninterrupted, tmp_path / 'tiny/spoilt')
    spoil(folder / 'resume.pt')
    said = refused(capfd, folder, 'train', *train('spoilt'))
    assert message in said
    assert '--restart' in said


def test_what_was_logged_past_the_checkpoint_comes_once(train, tmp_path, uninterrupted):
    folder = copy_of(uninterrupted, tmp_path / 'tiny/late')
    early = torch.load(folder / 'resume.pt', weights_only=True)
    lines = (folder / 'metrics.jsonl').read_text()
    start('train', *train('late', '--n_epochs', '13'))
    longer = rows_of(folder)
    torch.save(early, folder / 'resume.pt')  # as if the process had died before the next checkpoint
    with open(folder / 'metrics.jsonl', 'a') as file:
        file.write('{"epoch": 13.1, "st')  # … and while it wrote
    start('train', *train('late', '--n_epochs', '13'))
    assert rows_of(folder) == longer
    assert (folder / 'metrics.jsonl').read_text().startswith(lines)


# --------------------------------- the disk -------------------------------- #


def test_tokens_on_disk_make_the_same_run(train, tmp_path, uninterrupted):
    start('train', *train('mapped', '--tokens_on', 'disk', '--n_epochs', '6', '--n_saves', '2'))
    start('train', *train('mapped', '--tokens_on', 'disk'))  # goes on
    assert_same(tmp_path / 'tiny/mapped', uninterrupted)
    assert not [path.name for path in (tmp_path / 'tiny/mapped').iterdir() if path.name.startswith('.')]


def limited(flags, n_bytes, said):
    """Train where no file may grow past a size, as on a full disk.    said : file to write the errors to"""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    start('train', *flags)


def run_limited(processes, tmp_path, flags, n_bytes):
    """returns : what a training run that cannot write says before it ends"""
    child = processes.Process(target=limited, args=[flags, n_bytes, tmp_path / 'said'])
    child.start()
    child.join()
    said = (tmp_path / 'said').read_text()
    assert child.exitcode == 2, said
    assert 'Traceback' not in said
    return said


def test_a_full_disk_leaves_the_last_checkpoint_whole(train, tmp_path, uninterrupted, processes):
    start('train', *train('full', '--n_epochs', '3', '--n_saves', '1'))
    folder = tmp_path / 'tiny/full'
    before = (folder / 'resume.pt').read_bytes()
    said = run_limited(processes, tmp_path, train('full'), len(before) // 2)
    assert 'train.py: error: cannot write' in said
    assert 'File too large; what it held before is whole' in said
    assert (folder / 'resume.pt').read_bytes() == before
    assert not [path.name for path in folder.iterdir() if path.name.startswith('.')]
    start('train', *train('full'))
    assert_same(folder, uninterrupted)


def test_a_log_that_cannot_grow_stops_the_run(train, tmp_path, uninterrupted, processes):
    folder = copy_of(uninterrupted, tmp_path / 'tiny/log')
    size = (folder / 'resume.pt').stat().st_size + 2000
    (folder / 'metrics.jsonl').write_text('{"step": 1, "padding": "' + 'x' * (size - 1000) + '"}\n')
    said = run_limited(processes, tmp_path, train('log', '--n_epochs', '20'), size)
    assert 'metrics.jsonl: File too large' in said
    torch.load(folder / 'resume.pt', weights_only=True)


def test_a_folder_that_cannot_be_made_or_written_is_named(train, tmp_path, capfd):
    (tmp_path / 'tiny').write_text('a file where the folder should be')
    assert 'cannot make the folder' in refused(capfd, tmp_path, 'train', *train('new'))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(train, tmp_path, uninterrupted, capfd):
    folder = copy_of(uninterrupted, tmp_path / 'tiny/broken')
    state = torch.load(folder / 'resume.pt', weights_only=True)
    state['model']['pos_emb'][:] = float('nan')
    torch.save(state, folder / 'resume.pt')
    before = (folder / 'resume.pt').read_bytes()
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit_:
        start('train', *train('broken', '--n_epochs', '13'))
    assert exit_.value.code == 2
    said = capfd.readouterr().err
    windows = re.search(r'the loss became nan at update 121, in the batch of the windows ([\d, ]+) and 16 more', said)
    assert len(set(windows[1].split(', '))) == 16
    assert (folder / 'resume.pt').read_bytes() == before
