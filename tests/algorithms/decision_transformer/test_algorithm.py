"""The Decision Transformer: its updates against the original's, its runs, and whether it obeys the return asked for."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from config.decision import Train
from plotting.read_results import load_results
from scripts import evaluate, train
from tests.models.test_action_mlp import make as make_mlp
from tests.models.test_decision_transformer import make
from tests.support import golden, state_of
from trajectory import utils
from trajectory.algorithms.decision_transformer import ALGORITHM
from trajectory.algorithms.decision_transformer.agent import ReturnConditionedAgent
from trajectory.algorithms.decision_transformer.algorithm import find_targets, make_optimizer
from trajectory.datasets.episodes import Episodes
from trajectory.datasets.hdf5 import write_episodes
from trajectory.datasets.return_windows import Batch, ReturnWindows
from trajectory.models.decision_transformer import DecisionTransformer
from trajectory.models.mlp import MLP
from trajectory.training.distributed import Distributed

ROOT = Path(__file__).parents[3]
SMALL = (
    *('--config', 'config.decision', '--dataset', 'mine', '--embed_dim', '16', '--n_layer', '1', '--K', '5'),
    *('--device', 'cpu', '--batch_size', '16', '--num_steps_per_iter', '5', '--max_iters', '4', '--warmup_steps', '5'),
)


def learner(model, **settings):
    """An algorithm that learns, without data."""
    algorithm = ALGORITHM()
    algorithm.settings = SimpleNamespace(**{**vars(Train()), **settings})
    algorithm.model, algorithm.distributed, algorithm.done = model, Distributed(), 0
    algorithm.optimizer = make_optimizer(model, algorithm.settings)
    return algorithm


def test_ten_updates_move_the_weights_as_the_originals_did():
    arrays = golden('decision/training')
    config = arrays['config']
    algorithm = learner(
        make(state_of(arrays, 'initial'), config['n_head'], dropout=0.0),
        learning_rate=config['learning_rate'], weight_decay=config['weight_decay'], warmup_steps=config['warmup_steps'],
    )  # fmt: skip
    batch = Batch(*(torch.tensor(arrays[name]) for name in Batch._fields))
    for step in range(config['n_steps']):
        assert algorithm._rate() == pytest.approx(arrays['lr_of_step'][step], rel=1e-6)
        loss = algorithm.learn(batch).item()
        assert loss == pytest.approx(arrays['loss_before_step'][step], rel=1e-5)
    final = algorithm.model.state_dict()
    width = config['hidden_size']
    for name, expected in state_of(arrays, 'final').items():
        found, tolerance = final[name].numpy(), 5e-5
        if name.endswith('c_attn.bias'):  # keys' biases have no gradient but rounding
            np.testing.assert_allclose(found[width : 2 * width], expected[width : 2 * width], atol=5e-3)
            found, expected = np.delete(found, slice(width, 2 * width)), np.delete(expected, slice(width, 2 * width))
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)
    for name in arrays['untouched'] if isinstance(arrays['untouched'], list) else json.loads(str(arrays['untouched'])):
        np.testing.assert_array_equal(final[name], arrays[f'initial/{name}'])


def test_ten_updates_of_the_mlp_are_the_originals():
    arrays = golden('decision/bc')
    config = arrays['config']
    algorithm = learner(
        make_mlp(arrays, 'initial'),
        learning_rate=config['learning_rate'], weight_decay=config['weight_decay'], warmup_steps=config['warmup_steps'],
    )  # fmt: skip
    states, actions, mask = (torch.tensor(arrays[name]) for name in ('states', 'actions', 'mask'))
    nothing = torch.zeros(len(states), config['K'] + 1, 1)
    for step in range(config['n_steps']):
        assert algorithm._rate() == pytest.approx(arrays['lr_of_step'][step], rel=1e-6)
        loss = algorithm.learn(Batch(states, actions, nothing, nothing, nothing, nothing, mask)).item()
        assert loss == pytest.approx(arrays['loss_before_step'][step], rel=1e-5)
    final = algorithm.model.state_dict()
    for name, expected in state_of(arrays, 'final').items():
        np.testing.assert_allclose(final[name], expected, atol=1e-5, err_msg=name)


# --------------------------------- the point -------------------------------- #


def record_point(seed, n_episodes=600, n_steps=30):
    """Episodes of a point that is to go to the origin, by controllers of random skill."""
    rng = np.random.default_rng(seed)
    columns = {'observations': [], 'actions': [], 'rewards': []}
    for _ in range(n_episodes):
        skill, state = rng.uniform(), rng.uniform(-1, 1, 2)
        for _ in range(n_steps):
            action = np.clip(skill * -2 * state + (1 - skill) * rng.normal(0, 1, 2), -1, 1)
            columns['observations'].append(state)
            columns['actions'].append(action)
            state = state + 0.2 * action
            columns['rewards'].append(-np.abs(state).sum())
    arrays = {name: np.array(values, dtype=np.float32) for name, values in columns.items()}
    n = n_episodes * n_steps
    return Episodes(
        arrays['observations'], arrays['actions'], arrays['rewards'], np.zeros(n, bool), [n_steps] * n_episodes
    )


def reached(agent, seed, n_episodes=40, n_steps=30):
    """The return of each of some episodes of the point."""
    states = np.random.default_rng(1000 + seed).uniform(-1, 1, (n_episodes, 2))
    agent.reset(states, list(range(n_episodes)))
    returns = np.zeros(n_episodes)
    for _ in range(n_steps):
        actions = np.clip(agent.act(states), -1, 1)
        states = states + 0.2 * actions
        rewards = -np.abs(states).sum(axis=1)
        returns += rewards
        agent.observe(actions, rewards, states, np.zeros(n_episodes, bool))
    return returns


class Clone:
    """Behavior cloning of all the episodes."""

    def __init__(self, episodes, seed):
        torch.manual_seed(seed)
        self.policy = MLP(2, [64, 64], 2, activation='ReLU')
        optimizer = torch.optim.AdamW(self.policy.parameters(), 1e-3)
        states, actions = torch.as_tensor(episodes.observations), torch.as_tensor(episodes.actions)
        for _ in range(400):
            rows = torch.randint(len(states), (256,))
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(self.policy(states[rows]), actions[rows]).backward()
            optimizer.step()

    def reset(self, *_):
        pass

    observe = reset

    @torch.no_grad()
    def act(self, states):
        return self.policy(torch.as_tensor(states, dtype=torch.float32)).numpy()


def test_a_point_goes_where_it_is_asked_to():
    """High targets reach more than low ones, and more than cloning the behavior that all the data mixes."""
    high, low, cloned, asked_low = [], [], [], []
    for seed in range(3):
        episodes = record_point(seed)
        windows = ReturnWindows(episodes, 10, scale=10.0, max_ep_len=30)
        torch.manual_seed(seed)
        model = DecisionTransformer(2, 2, 64, 2, 1, max_ep_len=30)
        algorithm = learner(model, learning_rate=1e-3, warmup_steps=50)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(400):
            algorithm.learn(windows.gather(*windows.draw(64, generator)))
        targets = np.percentile(episodes.returns, [99, 5])
        returns = [
            reached(ReturnConditionedAgent(model, 10, windows.state_mean, windows.state_std, 10.0, target), seed)
            for target in targets
        ]
        high.append(returns[0])
        low.append(returns[1])
        asked_low.append(targets[1])
        cloned.append(reached(Clone(episodes, seed), seed))
    for a, b in zip(high, low, strict=True):
        error = (a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)) ** 0.5
        assert a.mean() > b.mean() + 2 * error
    assert all(a.mean() > b.mean() for a, b in zip(high, cloned, strict=True))
    assert all(abs(b.mean() - target) < 0.5 * abs(target) for b, target in zip(low, asked_low, strict=True))


# ----------------------------------- runs ----------------------------------- #


def start(module, name, *flags):
    given, sys.argv = sys.argv, [f'scripts/{name}.py', *map(str, flags)]
    try:
        utils.run(module.main, module.Parser, name)
    finally:
        sys.argv = given


def write(path, n=400, **changes):
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(n, 11)).astype(np.float32)
    write_episodes(path, {
        'observations': observations, 'actions': np.tanh(observations[:, :3]), 'terminals': np.zeros(n, bool),
        'rewards': rng.uniform(0, 3, n).astype(np.float32), 'timeouts': np.arange(1, n + 1) % 40 == 0, **changes,
    }, {'env': 'Hopper-v4', 'physics': 'd4rl'})  # fmt: skip
    return path


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    return write(tmp_path_factory.mktemp('data') / 'mine.hdf5')


@pytest.fixture(scope='module')
def logbase(recording, tmp_path_factory):
    logbase = tmp_path_factory.mktemp('logs')
    start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', logbase, '--held_out', '0.2',
          '--eval_every', '2', '--eval_steps', '3')  # fmt: skip
    return logbase


def test_each_target_has_results_of_its_own(logbase, caplog):
    start(evaluate, 'evaluate', '--config', 'config.decision', '--dataset', 'mine', '--logbase', logbase,
          '--n_episodes', '2', '--max_episode_steps', '25', '--target_return', '3600', '60', '-9')  # fmt: skip
    found = {one.exp_name: one for one in load_results(logbase)}
    assert set(found) == {f'evaluations/dt/default/target_return{target}' for target in (3600, 60, -9)}
    assert all(one.algorithm == 'decision_transformer' and len(one.returns) == 2 for one in found.values())
    assert 'a return of 3600 is asked for; those of the data are from' in caplog.text
    assert 'a return of -9 is asked for' in caplog.text
    assert 'a return of 60 is asked for' not in caplog.text
    rows = [json.loads(row) for row in (logbase / 'mine/dt/default/metrics.jsonl').read_text().splitlines()]
    assert [row['epoch'] for row in rows if 'return' in row] == [2, 4]
    assert all(row['heldout_loss'] > 0 for row in rows if row['epoch'] == int(row['epoch']))


def test_a_killed_run_ends_in_the_same_bits(recording, tmp_path):
    flags = (*SMALL, '--dataset_path', str(recording), '--max_iters', '12')
    start(train, 'train', *flags, '--logbase', tmp_path / 'whole')
    command = [sys.executable, ROOT / 'scripts/train.py', *flags, '--logbase', tmp_path / 'cut', '--save_steps', '3']
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (tmp_path / 'cut/mine/dt/default/state_4.pt').exists():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    start(train, 'train', *flags, '--logbase', tmp_path / 'cut', '--save_steps', '3')
    whole, again = (
        torch.load(tmp_path / name / 'mine/dt/default/state_12.pt', weights_only=True) for name in ('whole', 'cut')
    )
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_targets_and_scales_are_of_the_environment_or_of_the_data():
    assert find_targets('Hopper-v4', 100.0) == ((3600, 1800), 1000)
    assert find_targets('antmaze-umaze-v0', 1.0) == ((1, 0.5), 1)
    assert find_targets('reacher2d', 1.0) == ((76, 40), 10)
    assert find_targets('Swimmer-v4', 77.0) == ((77.0,), 77.0)


@pytest.mark.parametrize(('flags', 'message'), [
    (['--K', '2000'], 'a window of K = 2000 steps is longer than max_ep_len = 1000'),
    (['--K', '41'], 'longer than any episode of the data; the longest has 40'),
    (['--pct_traj', '0'], 'pct_traj must be above 0'), (['--scale', '0'], 'scale must be above 0'),
    (['--n_head', '3'], 'cannot be shared among 3 heads'), (['--activation_function', 'x'], "unknown activation 'x'"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(recording, tmp_path, capfd, flags, message):
    with pytest.raises(SystemExit):
        start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', tmp_path, *flags)
    assert message in capfd.readouterr().err


def test_data_without_rewards_is_refused(tmp_path, capfd):
    path = write(tmp_path / 'mine.hdf5', rewards=np.zeros(400, np.float32))
    with pytest.raises(SystemExit):
        start(train, 'train', *SMALL, '--dataset_path', path, '--logbase', tmp_path / 'logs')
    assert 'all rewards of the dataset are zero' in capfd.readouterr().err


@pytest.mark.parametrize('target', ['many', 'nan'])
def test_a_target_that_is_no_number_is_refused(logbase, capfd, target):
    with pytest.raises(SystemExit):
        start(evaluate, 'evaluate', '--config', 'config.decision', '--dataset', 'mine', '--logbase', logbase,
              '--target_return', target)  # fmt: skip
    assert f"expected None or float, got '{target}'" in capfd.readouterr().err


def test_held_out_windows_are_normalized_as_those_learned_from(recording):
    settings = SimpleNamespace(**{**vars(Train()), 'dataset': 'mine', 'dataset_path': recording, 'held_out': 0.1,
                                  'K': 5, 'embed_dim': 8, 'n_layer': 1})  # fmt: skip
    algorithm = ALGORITHM.build(settings, torch.device('cpu'), Distributed())
    np.testing.assert_array_equal(algorithm.held_out.state_mean, algorithm.windows.state_mean)
    np.testing.assert_array_equal(algorithm.held_out.state_std, algorithm.windows.state_std)


def test_a_run_acts_in_the_mode_that_it_learned_in(recording, tmp_path):
    start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', tmp_path, '--mode', 'delayed')
    algorithm = ALGORITHM.load(tmp_path / 'mine/dt/default')
    for mode, expected in ((None, 'delayed'), ('normal', 'normal')):
        assert algorithm.agent(SimpleNamespace(target_return=[9.0], mode=mode)).mode == expected


@torch.no_grad()
@pytest.mark.parametrize(('n_layer', 'is_exact'), [(1, True), (3, False)])
def test_a_cache_that_drops_old_steps_is_exact_for_one_layer_alone(n_layer, is_exact):
    """What cached keys and values would compute is attention within a band, over the whole history."""
    torch.manual_seed(0)
    model, n_steps, k = DecisionTransformer(11, 3, n_layer=n_layer).eval(), 40, 20
    states, actions, to_go = torch.randn(1, n_steps, 11), torch.rand(1, n_steps, 3), torch.rand(1, n_steps, 1)
    times = torch.arange(n_steps)[None]
    place = torch.arange(3 * n_steps)
    band = (place[:, None] >= place) & (place[:, None] // 3 - place // 3 < k)
    hidden = model.transformer(model.embed(states, actions, to_go, times), band[None, None])
    cached = model.predict_action(hidden[:, 1::3])[0]
    for step, same in ((5, True), (20, True), (21, is_exact), (40, is_exact)):
        window = slice(max(0, step - k), step)
        action = model(states[:, window], actions[:, window], to_go[:, window], times[:, window]).actions[0, -1]
        assert ((action - cached[step - 1]).abs().max() < 1e-6) == same
