"""Behavior cloning through the scripts of every method: it learns, resumes, acts and is reported."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from plotting.read_results import load_results
from plotting.report import write_report
from scripts import evaluate, train
from trajectory import utils
from trajectory.algorithms.behavior_cloning import ALGORITHM
from trajectory.algorithms.behavior_cloning.algorithm import Policy, PolicyAgent, _contexts
from trajectory.datasets.episodes import Episodes
from trajectory.datasets.hdf5 import write_episodes
from trajectory.utils.errors import InputError

ROOT = Path(__file__).parents[3]
SMALL = (
    '--config',
    'config.behavior_cloning',
    '--dataset',
    'mine',
    '--n_epochs',
    '3',
    '--width',
    '16',
    '--device',
    'cpu',
    '--learning_rate',
    '0.01',
    '--batch_size',
    '32',
)


def start(module, name, *flags):
    given, sys.argv = sys.argv, [f'scripts/{name}.py', *map(str, flags)]
    try:
        utils.run(module.main, module.Parser, name)
    finally:
        sys.argv = given


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """Steps of a hopper's widths in which the action is a known function of the observation."""
    rng = np.random.default_rng(0)
    n = 600
    observations = rng.normal(size=(n, 11)).astype(np.float32)
    ends = np.arange(1, n + 1) % 50 == 0
    path = tmp_path_factory.mktemp('data') / 'mine.hdf5'
    write_episodes(
        path,
        {
            'observations': observations,
            'actions': np.tanh(observations[:, :3]),
            'terminals': np.zeros(n, bool),
            'rewards': np.repeat(np.arange(12.0), 50).astype(np.float32),
            'timeouts': ends,
        },
        {'env': 'Hopper-v4', 'physics': 'd4rl'},
    )
    return path


@pytest.fixture(scope='module')
def logbase(recording, tmp_path_factory):
    logbase = tmp_path_factory.mktemp('logs')
    start(
        train,
        'train',
        *SMALL,
        '--dataset_path',
        recording,
        '--logbase',
        logbase,
        '--n_epochs',
        '30',
        '--held_out',
        '0.2',
        '--eval_every',
        '15',
        '--eval_steps',
        '5',
    )
    return logbase


def rows_of(logbase, name='bc/default'):
    return [json.loads(line) for line in (logbase / 'mine' / name / 'metrics.jsonl').read_text().splitlines()]


def test_it_learns_the_function_and_is_looked_at_while_it_does(logbase):
    rows = rows_of(logbase)
    assert rows[-1]['heldout_loss'] < 0.05 * np.tanh(np.random.default_rng(1).normal(size=10000)).var()
    assert [row['epoch'] for row in rows if 'return' in row] == [15, 30]


def test_it_acts_and_stands_in_results_and_report(logbase):
    flags = (
        '--config',
        'config.behavior_cloning',
        '--dataset',
        'mine',
        '--logbase',
        logbase,
        '--n_episodes',
        '3',
        '--max_episode_steps',
        '20',
    )
    start(evaluate, 'evaluate', *flags)
    (experiment,) = load_results(logbase)
    assert (experiment.exp_name, experiment.algorithm, len(experiment.returns)) == (
        'evaluations/bc/default',
        'behavior_cloning',
        3,
    )
    write_report(logbase, logbase / 'report.html')
    assert 'evaluations/bc/default' in (logbase / 'report.html').read_text()


def test_the_best_episodes_are_learned_from_alone(recording, logbase):
    start(
        train,
        'train',
        *SMALL,
        '--dataset_path',
        recording,
        '--logbase',
        logbase,
        '--exp_name',
        'bc/best',
        '--pct_traj',
        '0.1',
    )
    assert rows_of(logbase, 'bc/best')[-1]['step'] == 3 * -(-50 // 32)  # one of twelve episodes


def test_a_killed_run_ends_in_the_same_bits(recording, tmp_path):
    flags = (*SMALL, '--dataset_path', str(recording), '--dropout', '0.3', '--n_epochs', '20')
    start(train, 'train', *flags, '--logbase', tmp_path / 'whole')
    cut = [sys.executable, ROOT / 'scripts/train.py', *flags, '--logbase', tmp_path / 'cut', '--save_steps', '7']
    process = subprocess.Popen(cut, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    path = tmp_path / 'cut/mine/bc/default/state_6.pt'
    while not path.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    start(train, 'train', *flags, '--logbase', tmp_path / 'cut', '--save_steps', '7')
    whole, again = (
        torch.load(tmp_path / name / 'mine/bc/default/state_20.pt', weights_only=True) for name in ('whole', 'cut')
    )
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_two_processes_learn_what_one_does(recording, tmp_path):
    flags = (*SMALL, '--dataset_path', str(recording))
    start(train, 'train', *flags, '--logbase', tmp_path / 'one')
    torchrun = shutil.which('torchrun', path=str(Path(sys.executable).parent))
    done = subprocess.run(
        [torchrun, '--nproc_per_node=2', ROOT / 'scripts/train.py', *flags, '--logbase', tmp_path / 'two'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    one, two = (
        torch.load(tmp_path / name / 'mine/bc/default/state_3.pt', weights_only=True) for name in ('one', 'two')
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)


def test_a_context_repeats_an_episodes_first_observation_and_never_crosses_its_start():
    observations = np.arange(5, dtype=np.float32)[:, None]
    episodes = Episodes(observations, observations, np.zeros(5), np.zeros(5, bool), [3, 2])
    contexts, _ = _contexts(episodes, 3, 'cpu')
    assert contexts.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3], [3, 3, 4]]
    policy = Policy(1, 1, 3, 4, 1, 0.0)
    agent = PolicyAgent(policy, 'Hopper-v4')
    agent.reset(np.array([[0.0], [5.0]]), [0, 1])
    agent.observe(np.zeros((2, 1)), np.zeros(2), np.array([[1.0], [6.0]]), np.zeros(2, bool))
    assert agent.context[..., 0].tolist() == [[0, 0, 1], [5, 5, 6]]


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--pct_traj', '0'], 'pct_traj must be above 0'),
        (['--context', '0'], 'context must be at least 1'),
        (['--n_epochs', '0'], 'n_epochs must be at least 1'),
    ],
)
def test_settings_that_cannot_be_are_refused(recording, tmp_path, capfd, flags, message):
    with pytest.raises(SystemExit):
        start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', tmp_path, *flags)
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_weights_of_another_recipe_are_refused(logbase, tmp_path):
    shutil.copytree(logbase / 'mine/bc/default', tmp_path / 'x')
    recipe = json.loads((tmp_path / 'x/model_config.json').read_text())
    (tmp_path / 'x/model_config.json').write_text(json.dumps({**recipe, 'width': 17}))
    with pytest.raises(utils.InputError, match='does not fit the recipe beside it'):
        ALGORITHM.load(tmp_path / 'x')


@pytest.mark.parametrize(('file', 'content', 'message'), [
    ('source.json', {}, 'says nothing of'), ('source.json', [1], 'says nothing of'),
    ('model_config.json', {'width': 8}, 'says nothing of observation_dim'),
    ('model_config.json', {'observation_dim': 11, 'action_dim': 3, 'context': 2, 'width': 10**400, 'n_layer': 1,
                           'dropout': 0.1}, 'width is'),
    ('model_config.json', {'observation_dim': 11, 'action_dim': 3, 'context': 10**4, 'width': 2**16, 'n_layer': 9,
                           'dropout': 0.1}, 'does not fit the recipe beside it'),
])  # fmt: skip
def test_a_run_whose_records_are_damaged_is_refused(recording, tmp_path, file, content, message):
    start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', tmp_path, '--n_epochs', '1')
    run = tmp_path / 'mine/bc/default'
    (run / file).write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        ALGORITHM.load(run)
