"""Implicit Q-learning: what it learns in a maze whose values are known, and its life through the scripts."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scripts import evaluate, plan, train
from trajectory import utils
from trajectory.algorithms.implicit_q import ALGORITHM
from trajectory.algorithms.implicit_q.algorithm import _bounds_of_values, find_reward_transform
from trajectory.datasets.discretization import QuantileDiscretizer
from trajectory.datasets.hdf5 import write_episodes
from trajectory.environments.families.tabular import value_iteration
from trajectory.environments.spec import EnvironmentSpec
from trajectory.search.settings import SearchSettings
from trajectory.utils.errors import InputError
from trajectory.utils.layout import TransitionLayout

ROOT = Path(__file__).parents[3]
CELLS = [(row, column) for row in range(3) for column in range(4) if (row, column) != (1, 1)]  # 11: a hopper's columns
GOAL = CELLS.index((0, 3))
MOVES = [(0, 1), (0, -1), (1, 0), (-1, 0)]
CODES = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float32)  # of moves: a hopper's actions
GAMMA = 0.9
SMALL = ('--config', 'config.implicit_q', '--dataset', 'maze', '--width', '32', '--batch_size', '64',
         '--discount', GAMMA, '--device', 'cpu', '--reward_scale', '1', '--learning_rate', '1e-3')  # fmt: skip


def start(module, name, *flags):
    given, sys.argv = sys.argv, [f'scripts/{name}.py', *map(str, flags)]
    try:
        utils.run(module.main, module.Parser, name)
    finally:
        sys.argv = given


def step(cell, move):
    row, column = (a + b for a, b in zip(CELLS[cell], MOVES[move], strict=True))
    return CELLS.index((row, column)) if (row, column) in CELLS else cell


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """A maze of 11 cells in which a random walk earns -1 a step until it reaches the goal, or gives up."""
    rng = np.random.default_rng(0)
    columns = {name: [] for name in ('observations', 'actions', 'rewards', 'terminals', 'timeouts')}
    for _ in range(300):
        cell = int(rng.choice([cell for cell in range(len(CELLS)) if cell != GOAL]))
        for t in range(20):
            move = int(rng.integers(4))
            following = step(cell, move)
            row = np.eye(11)[cell], CODES[move], -1.0, following == GOAL, t == 19 and following != GOAL
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
            cell = following
            if cell == GOAL:
                break
    path = tmp_path_factory.mktemp('data') / 'maze.hdf5'
    columns = {name: np.array(column) for name, column in columns.items()}
    columns = {name: c.astype(bool if name in ('terminals', 'timeouts') else np.float32) for name, c in columns.items()}
    write_episodes(path, columns, {'env': 'Hopper-v4', 'physics': 'd4rl'})
    return path


@pytest.fixture(scope='module')
def logbase(recording, tmp_path_factory):
    logbase = tmp_path_factory.mktemp('logs')
    start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', logbase, '--expectile', 0.99,
          '--width', 64, '--n_updates', 6000, '--epoch_updates', 3000, '--target_update', 0.02, '--held_out', 0.05,
          '--batch_size', 256)  # fmt: skip
    return logbase


def test_learned_values_are_those_of_value_iteration_and_the_policy_goes_there(logbase):
    n = len(CELLS)
    transitions, rewards = np.zeros((n, 4, n)), -np.ones((n, 4))
    for cell in range(n):
        for move in range(4):
            transitions[cell, move, GOAL if cell == GOAL else step(cell, move)] = 1
    rewards[GOAL] = 0
    optimal = value_iteration(transitions, rewards, gamma=GAMMA)
    q = rewards + GAMMA * transitions @ optimal
    others = np.array([cell for cell in range(n) if cell != GOAL])
    algorithm = ALGORITHM.load(logbase / 'maze/iql/default')
    observations = torch.eye(11)[others].repeat_interleave(4, dim=0)
    actions = torch.as_tensor(CODES).repeat(len(others), 1)
    with torch.no_grad():
        learned = algorithm.networks.q_of(observations, actions).amin(dim=0).reshape(-1, 4).numpy()
        means = algorithm.networks.act(torch.eye(11)[others])
    np.testing.assert_allclose(learned, q[others], rtol=0.05)
    chosen = (means @ torch.as_tensor(CODES).T).argmax(dim=1).numpy()
    assert (q[others, chosen] > q[others].max(axis=1) - 1e-6).all()


def test_it_acts_and_its_q_ranks_the_candidates_of_a_plan(recording, logbase, capfd):
    act = '--dataset', 'maze', '--logbase', logbase, '--n_episodes', 2, '--max_episode_steps', 5, '--device', 'cpu'
    start(evaluate, 'evaluate', '--config', 'config.implicit_q', *act)
    start(train, 'train', '--dataset', 'maze', '--dataset_path', recording, '--logbase', logbase, '--device', 'cpu',
          '--exp_name', 'gpt/tiny', '--n_layer', 1, '--n_head', 1, '--n_embd', 16, '--n_epochs', 1, '--N', 8,
          '--subsampled_sequence_length', 2, '--termination_penalty', 'None')  # fmt: skip
    search = ('--gpt_loadpath', 'gpt/tiny', '--horizon', 2, '--beam_width', 4, '--renderer', 'None',
              '--max_context_transitions', 2)  # fmt: skip
    start(plan, 'plan', *act, *search, '--prefix', 'plans/q/', '--q_loadpath', 'iql/default', '--q_epoch', 1)
    start(plan, 'plan', *act, *search, '--prefix', 'plans/values/')
    written = [
        json.loads(next((logbase / f'maze/plans/{name}').rglob('rollout.json')).read_text()) for name in ('q', 'values')
    ]
    assert written[0]['q_epoch'] == 1
    assert written[0]['identity'] != written[1]['identity']
    assert written[0]['model'].startswith(f'{written[1]["model"]}+')
    assert written[0]['return'] != written[1]['return']
    capfd.readouterr()
    for flags, message in (
        (('--q_loadpath', 'iql/none'), 'there is no run in'),
        (('--q_loadpath', 'iql/default', '--q_epoch', 9), '--q_epoch'),
        (('--q_loadpath', 'iql/default', '--objective', 'likelihood'), 'ranks candidates without a Q'),
    ):
        with pytest.raises(SystemExit):
            start(plan, 'plan', *act, *search, *flags)
        assert message in capfd.readouterr().err


def test_a_killed_run_ends_in_the_same_bits(recording, tmp_path):
    flags = (*SMALL, '--dataset_path', recording, '--n_updates', 450, '--epoch_updates', 50)
    start(train, 'train', *flags, '--logbase', tmp_path / 'whole')
    cut = [sys.executable, ROOT / 'scripts/train.py', *flags, '--logbase', tmp_path / 'cut', '--save_steps', '37']
    process = subprocess.Popen([str(part) for part in cut], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (tmp_path / 'cut/maze/iql/default/resume.pt').exists():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    start(train, 'train', *flags, '--logbase', tmp_path / 'cut', '--save_steps', '37')
    whole, again = (
        torch.load(tmp_path / name / 'maze/iql/default/state_9.pt', weights_only=True) for name in ('whole', 'cut')
    )
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize(
    ('rewards', 'discount', 'bounds'),
    [
        ([0.0, 1.0], 0.99, (0.0, 100.0)),
        ([-1.0, -1.0], 0.9, (-10.0, 0.0)),
        ([2.0, 3.0], 0.5, (0.0, 6.0)),
        ([0.0, 1.0], 1.0, (0.0, np.inf)),
    ],
)
def test_what_a_value_can_be_is_known_from_the_rewards(rewards, discount, bounds):
    assert _bounds_of_values(torch.tensor(rewards), discount) == pytest.approx(bounds)


@pytest.mark.parametrize(
    ('environment', 'given', 'found'),
    [
        ('Hopper-v4', {}, (1000 / 40, 0.0)),
        ('maze2d-large-v1', {}, (1.0, 0.0)),
        ('antmaze-umaze-v0', {}, (1.0, -1.0)),
        ('Hopper-v4', {'reward_scale': 2.0, 'reward_shift': 3.0}, (2.0, 3.0)),
    ],
)
def test_rewards_are_scaled_as_the_paper_does_unless_told(environment, given, found):
    settings = SimpleNamespace(**{'reward_scale': None, 'reward_shift': None, **given})
    assert find_reward_transform(environment, np.array([10.0, 50.0]), settings) == pytest.approx(found)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--expectile', '1.5'], 'expectile must be above 0, and at most 1'),
        (['--n_updates', '0'], 'n_updates must be at least 1'),
        (['--reward_scale', '-1'], 'rewards cannot be scaled by -1'),
        (['--target_update', '0'], 'target_update must be above 0'),
        (['--temperature', '-1'], 'temperature must be at least 0'),
        (['--n_steps', '0'], 'n_steps must be at least 1'),
    ],
)
def test_settings_that_cannot_be_are_refused(recording, tmp_path, capfd, flags, message):
    with pytest.raises(SystemExit):
        start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', tmp_path, *flags)
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('file', 'content', 'message'), [
    ('source.json', {}, 'says nothing of'),
    ('model_config.json', {'width': 8}, 'says nothing of observation_dim'),
])  # fmt: skip
def test_a_run_whose_records_are_damaged_is_refused(recording, tmp_path, file, content, message):
    start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', tmp_path, '--n_updates', '2')
    run = tmp_path / 'maze/iql/default'
    (run / file).write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        ALGORITHM.load(run)


def test_an_ant_in_a_maze_is_learned_from_and_planned_for_by_q(tmp_path):
    """A few hundred random steps: rewards become -1 a step, and the goal ends an episode."""
    pytest.importorskip('gymnasium_robotics', reason='needs gymnasium-robotics (pip install -e .[robotics])')
    env = EnvironmentSpec('antmaze-umaze-v0', 'stock').make()
    rng = np.random.default_rng(0)
    columns = {name: [] for name in ('observations', 'actions', 'rewards', 'terminals', 'timeouts')}
    for episode in range(4):
        observation, _ = env.reset(seed=episode)
        for t in range(80):
            action = rng.uniform(-1, 1, size=8)
            following, reward, terminated, _, _ = env.step(action)
            for name, value in zip(columns, (observation, action, reward, terminated, t == 79), strict=True):
                columns[name].append(value)
            observation = following
    env.close()
    kinds = {'terminals': bool, 'timeouts': bool}
    columns = {name: np.array(column, dtype=kinds.get(name, np.float32)) for name, column in columns.items()}
    write_episodes(tmp_path / 'ants.hdf5', columns, {'env': 'antmaze-umaze-v0', 'physics': 'stock'})
    logs = '--logbase', tmp_path / 'logs', '--device', 'cpu'
    data = '--dataset', 'ants', '--dataset_path', tmp_path / 'ants.hdf5', *logs
    start(train, 'train', '--config', 'config.implicit_q', *data, '--n_updates', 4, '--width', 16)
    recipe = json.loads((tmp_path / 'logs/ants/iql/default/model_config.json').read_text())
    assert (recipe['observation_dim'], recipe['reward_scale'], recipe['reward_shift']) == (29, 1.0, -1.0)
    start(train, 'train', *data, '--exp_name', 'gpt/tiny', '--n_layer', 1, '--n_head', 1, '--n_embd', 16, '--N', 8,
          '--n_epochs', 1, '--subsampled_sequence_length', 2)  # fmt: skip
    start(plan, 'plan', '--dataset', 'ants', *logs, '--renderer', 'None',
          '--gpt_loadpath', 'gpt/tiny', '--q_loadpath', 'iql/default', '--horizon', 2, '--beam_width', 2,
          '--max_context_transitions', 2, '--max_episode_steps', 3)  # fmt: skip
    rollout = json.loads(next((tmp_path / 'logs/ants/plans').rglob('rollout.json')).read_text())
    assert (rollout['step'], rollout['environment']) == (3, 'antmaze-umaze-v0')


def test_a_value_beyond_what_rewards_allow_is_not_learned_from(logbase):
    algorithm = ALGORITHM.load(logbase / 'maze/iql/default')
    algorithm.bounds, algorithm.temperature, algorithm.expectile = (-10.0, 0.0), 1.0, 0.5
    networks = algorithm.networks
    with torch.no_grad():
        for parameter in (*networks.q.parameters(), *networks.value.parameters()):
            parameter.zero_()
        list(networks.value.parameters())[-1].fill_(1e6)
    row = torch.zeros(1, 11), torch.zeros(1, 3), -torch.ones(1), torch.zeros(1, 11), torch.full((1,), GAMMA)
    assert algorithm._losses(*row)['q_loss'].item() == 2  # both were to be -1 + 0.9 x 0


def test_q_functions_of_another_robot_or_discount_do_not_pass_unnoticed(logbase, caplog):
    algorithm = ALGORITHM.load(logbase / 'maze/iql/default')
    with pytest.raises(InputError, match='11 and 3 columns, the model imagines 17 and 6'):
        algorithm.ranking(None, TransitionLayout(17, 6), SearchSettings(discount=GAMMA))
    edges = QuantileDiscretizer(np.random.default_rng(0).normal(size=(50, 16)), 8)
    algorithm.ranking(edges, TransitionLayout(11, 3), SearchSettings(discount=GAMMA))
    assert not caplog.records
    algorithm.ranking(edges, TransitionLayout(11, 3), SearchSettings(discount=0.5))
    assert 'pass --discount 0.9' in caplog.text


def test_two_processes_learn_what_one_does(recording, tmp_path):
    flags = [str(flag) for flag in (*SMALL, '--dataset_path', recording, '--n_updates', 20, '--epoch_updates', 20)]
    start(train, 'train', *flags, '--logbase', tmp_path / 'one')
    torchrun = shutil.which('torchrun', path=str(Path(sys.executable).parent))
    command = [torchrun, '--nproc_per_node=2', ROOT / 'scripts/train.py', *flags, '--logbase', tmp_path / 'two']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (
        torch.load(tmp_path / name / 'maze/iql/default/state_1.pt', weights_only=True) for name in ('one', 'two')
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)
