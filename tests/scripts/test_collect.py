"""Recording with a real agent, trained for moments: the file, the snapshots, and what is refused."""

import json
import shutil
import sys
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('stable_baselines3')

from scripts import collect
from trajectory import utils
from trajectory.datasets import load_environment
from trajectory.datasets.hdf5 import read_episodes, read_metadata
from trajectory.utils.errors import InputError

FOLDER = 'snapshots/hopper-d4rl-SAC-seed0'


def start(*flags):
    """Run the script as the command line would, in this process."""
    given, sys.argv = sys.argv, ['scripts/collect.py', *map(str, flags)]
    try:
        utils.run(collect.main, collect.Parser, experiment=None)
    finally:
        sys.argv = given


def start_tiny(folder, name, *flags):
    path = folder / name
    start(
        '--robot',
        'hopper',
        '--train_steps',
        '300',
        '--eval_every',
        '150',
        '--eval_episodes',
        '1',
        '--n_transitions',
        '200',
        '--snapshots',
        folder / 'snapshots',
        '--savepath',
        path,
        *flags,
    )
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where SAC's snapshots lie, and what two of them recorded."""
    folder = tmp_path_factory.mktemp('collected')
    start_tiny(folder, 'first.hdf5', '--quality', 'random', 'expert')
    return folder


def test_the_file_is_a_data_set(folder):
    columns = read_episodes(folder / 'first.hdf5')
    assert columns['observations'].shape == (200, 11)
    assert columns['actions'].shape == (200, 3)
    assert np.abs(columns['actions']).max() <= 1
    assert not (columns['terminals'] & columns['timeouts']).any()
    env = load_environment('mine', folder / 'first.hdf5')
    assert (env.id, env.physics) == ('Hopper-v4', 'd4rl')


def test_no_episode_runs_on_into_the_next_policys(folder):
    columns = read_episodes(folder / 'first.hdf5')
    ended = columns['terminals'] | columns['timeouts']
    assert ended[99]
    assert ended[199]


def test_what_was_recorded_is_what_the_environment_did(folder):
    columns = read_episodes(folder / 'first.hdf5')
    env = load_environment('mine', folder / 'first.hdf5')
    observation, _ = env.reset(seed=0)
    for step in range(100):
        np.testing.assert_allclose(observation, columns['observations'][step], atol=1e-5)
        observation, reward, terminated, _, _ = env.step(columns['actions'][step])
        np.testing.assert_allclose(reward, columns['rewards'][step], atol=1e-4)
        assert terminated == columns['terminals'][step]
        if terminated:
            break
    assert terminated, 'a hopper under random actions falls within these steps'
    starts = np.flatnonzero(columns['terminals'] | columns['timeouts'])[:-1] + 1
    assert len(starts) > 2
    np.testing.assert_allclose(columns['observations'][starts, 0], 1.25, atol=0.01)  # upright, and at rest
    assert np.abs(columns['observations'][starts]).max(axis=0)[5:].max() < 0.01


def test_the_file_says_where_it_comes_from(folder):
    metadata = read_metadata(folder / 'first.hdf5')
    assert set(metadata) == {'env', 'physics', 'policy', 'seed', 'sources', 'versions'}
    assert (metadata['env'], metadata['physics'], metadata['seed']) == ('Hopper-v4', 'd4rl', '0')
    random, expert = json.loads(metadata['policy'])
    assert random.startswith('SAC after 0 steps (return ')
    assert expert.startswith('SAC after ')
    assert metadata['sources'] == f'scripts/collect.py: {random}, {expert}'
    assert json.loads(metadata['versions'])['mujoco'] == version('mujoco')


def test_a_second_start_trains_nothing_more_and_records_the_same(folder):
    snapshots = {path: path.stat().st_mtime_ns for path in (folder / FOLDER).iterdir()}
    assert {'evaluations.json', 'replay.pkl', 'steps0.zip', 'steps150.zip', 'steps300.zip'} == {
        path.name for path in snapshots
    }
    again = start_tiny(folder, 'again.hdf5', '--quality', 'random', 'expert')
    assert {path: path.stat().st_mtime_ns for path in (folder / FOLDER).iterdir()} == snapshots
    for name, column in read_episodes(again).items():
        np.testing.assert_array_equal(column, read_episodes(folder / 'first.hdf5')[name])


def test_longer_training_goes_on_from_the_last_snapshot(folder):
    before = (folder / FOLDER / 'steps300.zip').stat().st_mtime_ns
    start_tiny(folder, 'longer.hdf5', '--quality', 'expert', '--train_steps', '450')
    rows = json.loads((folder / FOLDER / 'evaluations.json').read_text())
    assert [row['steps'] for row in rows] == [0, 150, 300, 450]
    assert (folder / FOLDER / 'steps300.zip').stat().st_mtime_ns == before

    shorter = SimpleNamespace(agent='SAC', quality=['expert'], train_steps=200)
    rows = collect.train(shorter, load_environment('Hopper-v4'), folder / FOLDER)
    assert [row['steps'] for row in rows] == [0, 150]


def test_a_replay_buffer_is_recorded_in_the_order_it_happened(folder):
    from stable_baselines3 import SAC

    env = load_environment('Hopper-v4')
    agent = SAC.load(folder / FOLDER / 'steps300', env, device='cpu')
    agent.load_replay_buffer(folder / FOLDER / 'replay')
    columns = collect.replayed(agent.replay_buffer, n_steps=300, n_transitions=120)
    assert columns['observations'].shape == (120, 11)
    ended = columns['terminals'] | columns['timeouts']
    np.testing.assert_array_equal(
        agent.replay_buffer.next_observations[180:299, 0][~ended[:-1]], columns['observations'][1:][~ended[:-1]]
    )


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--savepath', ''], 'nowhere to write; name a file: --savepath FILE.hdf5'),
        (['--robot', 'hoper'], "unknown robot 'hoper'; there are: hopper, halfcheetah, walker2d, ant"),
        (['--agent', 'TD3'], "unknown agent 'TD3'; there are: SAC, PPO"),
        (['--quality', 'good'], "unknown quality 'good'; there are: random, medium, medium-replay, expert"),
        (['--quality', 'medium-replay', '--agent', 'PPO'], 'PPO keeps nothing of what it saw'),
        (['--physics', 'mujoco'], "unknown physics 'mujoco' for Hopper-v4"),
        (['--n_transitions', '0'], 'expected at least one transition a quality'),
        (['--quality', 'random', 'expert', '--n_transitions', '1'], 'expected at least one transition a quality'),
        (['--eval_every', '0'], 'train_steps >= eval_every >= 1'),
        (['--train_steps', '100'], 'train_steps >= eval_every >= 1'),
        (['--eval_episodes', '0'], 'eval_episodes must be at least 1, got 0'),
        (['--seed', '-1'], 'a seed is between 0 and'),
        (['--savepath', '/absent/folder/x.hdf5'], 'the folder /absent/folder is not there'),
        (['--savepath', '.'], '. is a folder; name a file: --savepath FILE.hdf5'),
        (['--savepath', '/proc/x.hdf5'], 'cannot write /proc/x.hdf5'),
        (['--quality'], 'no quality is named; there are: random, medium, medium-replay, expert'),
        (['--absent', '1'], 'unrecognized arguments: --absent 1'),
        (['--seed', 'one'], "invalid int value: 'one'"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_what_cannot_be_recorded_is_refused_before_any_training(tmp_path, capfd, flags, message):
    with pytest.raises(SystemExit) as exit_:
        start_tiny(tmp_path, 'no.hdf5', *flags)
    said = capfd.readouterr().err
    assert exit_.value.code == 2
    assert message in said
    assert said.startswith('collect.py: error: ')
    assert 'Traceback' not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('damaged', 'message'),
    [
        ('evaluations.json', 'evaluations.json is not valid JSON'),
        ('steps300.zip', r'the snapshot .*/steps300 cannot be read: '),
        ('replay.pkl', r'the snapshot .*/steps300 cannot be read: '),
    ],
)
def test_a_damaged_snapshot_is_named(folder, tmp_path, damaged, message):
    snapshots = shutil.copytree(folder / FOLDER, tmp_path / 'snapshots')
    (snapshots / 'evaluations.json').write_text(json.dumps([{'steps': 300, 'mean_return': 9.0, 'std_return': 1.0}]))
    (snapshots / damaged).write_bytes((snapshots / damaged).read_bytes()[:-20])
    longer = SimpleNamespace(agent='SAC', quality=['expert'], train_steps=450)
    with pytest.raises(InputError, match=message):
        collect.train(longer, load_environment('Hopper-v4'), snapshots)


def test_an_agent_that_never_was_medium_asks_for_longer_training():
    env = load_environment('Hopper-v4')
    rows = [{'steps': 0, 'mean_return': 20.0}, {'steps': 150, 'mean_return': 900.0}]
    with pytest.raises(InputError, match=r'reached a return of 900, .*\n.*--train_steps 300'):
        collect.first_medium(env, rows)
    assert not collect.enough(env, ['medium'], rows)

    medium = {'steps': 300, 'mean_return': 1100.0}  # a third of the way from -20 to 3234 is 1065
    rows += [medium, {'steps': 450, 'mean_return': 2000.0}]
    assert collect.first_medium(env, rows) is medium
    assert collect.enough(env, ['medium', 'random'], rows)
    assert not collect.enough(env, ['expert', 'medium'], rows)
