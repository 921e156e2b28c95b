"""Goals from end to end: walks through a maze are recorded, learned from, and planned like."""

import json
import sys

import imageio.v3 as imageio
import numpy as np
import pytest

pytest.importorskip('gymnasium_robotics', reason='needs gymnasium-robotics (pip install -e .[robotics])')

from scripts import collect
from tests.scripts.test_train_and_plan import TINY_MODEL, start
from trajectory import utils
from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel
from trajectory.datasets import GoalDataset, load_environment
from trajectory.datasets.hdf5 import read_episodes, read_metadata
from trajectory.models import ConditionalGPT

TINY_PLAN = (
    '--horizon',
    '3',
    '--beam_width',
    '2',
    '--max_context_transitions',
    '2',
    '--max_episode_steps',
    '20',
    '--renderer',
    'Maze2dRenderer',
    '--vis_freq',
    '10',
    '--device',
    'cpu',
)


def record(path, *flags):
    """Run scripts/collect.py as the command line would, in this process."""
    given, sys.argv = sys.argv, ['scripts/collect.py', '--robot', 'maze2d-umaze-v1', '--savepath', str(path), *flags]
    try:
        utils.run(collect.main, collect.Parser, experiment=None)
    finally:
        sys.argv = given


@pytest.fixture(scope='module')
def walks(tmp_path_factory):
    path = tmp_path_factory.mktemp('walks') / 'walks.hdf5'
    record(path, '--n_transitions', '3000')
    return path


@pytest.fixture(scope='module')
def logbase(walks, tmp_path_factory):
    """The folder of two runs: one that is told of goals, and one that is not."""
    logbase = tmp_path_factory.mktemp('logs')
    flags = ('--dataset', 'walks', '--dataset_path', walks, '--logbase', logbase, *TINY_MODEL, '--step', '5')
    start('train', *flags, '--goal_conditioned', 'True', '--exp_name', 'gpt/goals')
    start('train', *flags, '--exp_name', 'gpt/plain')
    return logbase


# -------------------------------- recording ------------------------------- #


def test_a_walk_goes_from_place_to_place_and_ends_at_rest(walks):
    columns = read_episodes(walks)
    env = load_environment('maze2d-umaze-v1')
    ends = np.flatnonzero(columns['timeouts'])
    assert not columns['terminals'].any()
    assert len(ends) > 5
    assert ends[-1] == len(columns['rewards']) - 1
    assert np.diff(ends).max() <= env.max_episode_steps
    starts, arrivals = columns['observations'][ends[:-1] + 1], columns['observations'][ends[:-1]]
    assert (np.linalg.norm(arrivals[:, 2:], axis=1) <= 0.2).mean() > 0.8
    assert len(np.unique(arrivals[:, :2].round(), axis=0)) > 3
    assert np.linalg.norm(starts[:, :2] - arrivals[:, :2], axis=1).mean() > 1
    assert read_metadata(walks)['env'] == 'maze2d-umaze-v1'


def test_what_was_recorded_is_what_the_maze_does(walks):
    columns = read_episodes(walks)
    env = load_environment('walks', walks)
    env.reset(seed=0)
    for row in np.flatnonzero(~columns['timeouts'])[100:200]:
        env.set_state(*np.split(columns['observations'][row].astype(float), 2))
        observation, reward, *_ = env.step(columns['actions'][row])
        np.testing.assert_allclose(observation, columns['observations'][row + 1], atol=1e-4)
        assert reward == columns['rewards'][row]


def test_equal_commands_record_equal_walks(walks, tmp_path):
    record(tmp_path / 'again.hdf5', '--n_transitions', '800')
    again, columns = read_episodes(tmp_path / 'again.hdf5'), read_episodes(walks)
    n_walked = len(again['rewards'])
    assert 500 <= n_walked <= 800
    assert again['timeouts'][-1]  # what did not end is left out
    for name, column in again.items():
        np.testing.assert_array_equal(column, columns[name][:n_walked])


def test_steps_that_are_too_few_for_a_walk_are_refused(tmp_path, capfd):
    with pytest.raises(SystemExit) as exit_:
        record(tmp_path / 'short.hdf5', '--n_transitions', '3')
    assert exit_.value.code == 2
    assert 'collect.py: error: 3 steps are too few for one walk' in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


# -------------------------------- planning -------------------------------- #


def test_a_run_is_told_of_goals_where_it_is_asked_to_be(logbase):
    trained = TrainedModel.from_run(logbase, 'walks', 'gpt/goals')
    assert isinstance(trained.model, ConditionalGPT)
    assert trained.data._class is GoalDataset
    assert trained.data['step'] == 5


@pytest.mark.parametrize('run', ['goals', 'plain'])
def test_goals_are_drawn_held_to_and_pictured(logbase, run):
    start(
        'plan',
        '--dataset',
        'walks',
        '--logbase',
        logbase,
        '--gpt_loadpath',
        f'gpt/{run}',
        *TINY_PLAN,
        '--goal',
        'random',
        '--n_episodes',
        '2',
        '--prefix',
        f'plans/{run}/',
    )
    folder = next(logbase.glob(f'walks/plans/{run}/*'))
    first, second = (json.loads((folder / k / 'rollout.json').read_text()) for k in '01')
    assert first['goal'] != second['goal']
    assert (first['score'], first['step']) == (None, 20)
    assert first['success'] in (True, False)
    assert {file.name for file in (folder / '0').glob('*.png')} == {'0_plan.png', '10_plan.png', 'rollout.png'}
    picture = imageio.imread(folder / '0' / 'rollout.png').astype(int)
    for color in ((255, 215, 0), (255, 127, 14), (44, 160, 44), (153, 153, 153)):  # goal, plans, start, walls
        assert (np.abs(picture - color) < 3).all(axis=-1).sum() > 5


def test_without_a_random_goal_the_mazes_own_is_scored(logbase):
    start(
        'plan',
        '--dataset',
        'walks',
        '--logbase',
        logbase,
        '--gpt_loadpath',
        'gpt/goals',
        *TINY_PLAN,
        '--prefix',
        'plans/own/',
    )
    rollout = json.loads(next(logbase.glob('walks/plans/own/*/0/rollout.json')).read_text())
    assert rollout['goal'] == [1, 1]
    assert rollout['score'] == pytest.approx((rollout['return'] - 23.85) / (161.86 - 23.85))


def test_a_look_during_training_reaches_for_the_mazes_own_goal(walks, tmp_path):
    start(
        'train',
        '--dataset',
        'walks',
        '--dataset_path',
        walks,
        '--logbase',
        tmp_path,
        *TINY_MODEL,
        '--step',
        '5',
        '--goal_conditioned',
        'True',
        '--eval_every',
        '1',
        '--eval_steps',
        '10',
    )
    rows = [json.loads(line) for line in (tmp_path / 'walks/gpt/azure/metrics.jsonl').read_text().splitlines()]
    assert np.isfinite(rows[-1]['return'])


def test_a_robot_without_goals_is_given_none(capfd):
    with pytest.raises(SystemExit) as exit_:
        start('plan', '--dataset', 'hopper-mixed-ppo', '--goal', 'random', '--logbase', 'absent')
    assert exit_.value.code == 2
    assert 'Hopper-v4 has no goals to reach.\n  Leave out --goal' in capfd.readouterr().err


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (('--q_loadpath', 'iql/default'), 'a model of goals is searched without a Q'),
        (('--trace_freq', '5'), 'searches are kept of plans by value, without goals'),
    ],
)
def test_neither_q_nor_kept_searches_belong_to_goals(logbase, capfd, flags, message):
    with pytest.raises(SystemExit):
        start('plan', '--dataset', 'walks', '--logbase', logbase, '--gpt_loadpath', 'gpt/goals', *TINY_PLAN, *flags)
    assert message in capfd.readouterr().err
