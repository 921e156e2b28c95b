"""Pre-training and continual fine-tuning: they learn, go on to the same bits, and refuse what does not fit."""

import json
import re

import numpy as np
import pytest
import torch

from scripts.train import Parser
from tests.scripts.test_train_and_plan import start
from trajectory.algorithms.multi_domain import ALGORITHM as MultiDomain
from trajectory.datasets.hdf5 import write_episodes
from trajectory.environments.suites.registry import find_task
from trajectory.training.distributed import Distributed
from trajectory.utils.errors import InputError

TASKS = ('reach-v3', 'drawer-close-v3', 'window-close-v3')
SMALL = ('--hidden_size', 16, '--n_layer', 1, '--n_head', 2, '--batch_size', 16, '--threads', 1, '--bins', 8)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Episodes whose actions are a linear function of the states, another for each task."""
    folder = tmp_path_factory.mktemp('suite')
    for number, name in enumerate((*TASKS, 'walker-run')):
        task, rng = find_task(name), np.random.default_rng(number)
        states = rng.normal(size=(200, task.observation_dim))
        actions = np.tanh(2 * states @ rng.normal(size=(task.observation_dim, task.action_dim)))
        columns = {
            'observations': states + number, 'actions': actions, 'rewards': rng.random(200),
            'terminals': np.zeros(200, dtype=bool), 'timeouts': np.arange(200) % 20 == 19,
        }  # fmt: skip
        write_episodes(folder / f'{name}.hdf5', columns, {'task': name, 'env': name})
    return folder


def settings(data, logbase, *flags):
    common = ('--config', 'config.continual', '--data_path', data, '--logbase', logbase, *SMALL)
    return Parser().parse_args('train', list(map(str, (*common, *flags))))


def build(*args):
    torch.manual_seed(0)
    return MultiDomain.build(settings(*args), torch.device('cpu'), Distributed())


@pytest.fixture(scope='module')
def logbase(data, tmp_path_factory):
    """A folder of runs with a base that was pre-trained on the first two tasks."""
    logbase = tmp_path_factory.mktemp('logs')
    start('train', '--config', 'config.continual', '--data_path', data, '--logbase', logbase, *SMALL, '--tasks',
          *TASKS[:2], '--num_updates', 300, '--learning_rate', '3e-3', '--exp_name', 'base')  # fmt: skip
    return logbase


def finetune(data, logbase, method, *flags):
    return build(data, logbase, '--tasks', TASKS[2], TASKS[1], '--base', 'base', '--finetuning', method,
                 '--num_updates', 10, '--n_keys', 4, *flags)  # fmt: skip


def everything(algorithm):
    return {**algorithm.policy.model.state_dict(), **algorithm.policy.added.state_dict()}


def test_pre_training_learns(logbase):
    rows = [json.loads(line) for line in (logbase / 'metaworld/base/metrics.jsonl').read_text().splitlines()]
    assert rows[-1]['loss'] < rows[0]['loss'] - 0.1
    assert rows[-1]['accuracy'] > rows[0]['accuracy'] + 0.03


@pytest.mark.parametrize('method', ['full', 'lora', 'ewc', 'l2', 'l2m_lora', 'l2m_ia3', 'l2m_oracle', 'l2p'])
def test_a_sequence_that_is_cut_off_goes_on_to_the_same_bits(data, logbase, method):
    whole, cut = (finetune(data, logbase, method) for _ in range(2))
    for _ in range(20):
        whole.update()
    for _ in range(13):  # in the middle of the second task
        cut.update()
    resumed = finetune(data, logbase, method)
    resumed.load_state_dict(cut.state_dict())
    for _ in range(7):
        resumed.update()
    ours, theirs = everything(resumed), everything(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert whole.task_number == 1
    assert bool(whole.anchors.places) == (method in ('ewc', 'l2'))
    if whole.policy.pool is not None:
        assert whole.policy.pool.task == 1


def test_a_frozen_base_stays_byte_for_byte(data, logbase):
    base = MultiDomain.load(logbase / 'metaworld/base')
    tuned = finetune(data, logbase, 'l2m_lora')
    for _ in range(12):
        tuned.update()
    before, after = base.policy.model.state_dict(), tuned.policy.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_keys_move_to_the_states_of_the_task(data, logbase):
    tuned = finetune(data, logbase, 'l2m_lora', '--learning_rate', '0.05')
    start_keys = tuned.policy.pool.keys.detach().clone()
    for _ in range(10):
        tuned.update()
    moved = (tuned.policy.pool.keys - start_keys).abs().sum(1) > 0
    assert moved.any()
    assert tuned.policy.pool.counts.sum().item() == pytest.approx(1, abs=1e-5)


def test_a_loaded_run_acts_as_it_was_saved(data, logbase, tmp_path):
    tuned = finetune(data, logbase, 'l2m_lora', '--n_pretrain_keys', 3)
    for _ in range(12):
        tuned.update()
    tuned.save_recipe(tmp_path)
    tuned.save(tmp_path, 2)
    loaded = MultiDomain.load(tmp_path)
    assert loaded.identity() == tuned.identity()
    assert loaded.policy.pool.task == 1
    states = np.random.default_rng(0).normal(size=(1, 39)).astype(np.float32)
    actions = []
    for one in (loaded, tuned):
        agent = one.agent(None)
        agent.reset(states, [0])
        actions.append(agent.act(states))
    assert np.array_equal(*actions)


def test_modulators_of_another_base_are_refused(data, logbase, tmp_path):
    tuned = finetune(data, logbase, 'lora')
    tuned.save_recipe(tmp_path)
    with torch.no_grad():
        tuned.policy.model.action_net[0].bias += 1
    tuned.save(tmp_path, 1)
    with pytest.raises(InputError, match='holds modulators of another base'):
        MultiDomain.load(tmp_path)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (('--tasks', 'hamer-v3'), "Did you mean 'hammer-v3'"),
        (('--tasks', 'hammer-v3'), 'hammer-v3.hdf5 is not there'),
        (('--tasks', 'reach-v3', '--finetuning', 'lora'), 'fine-tuning begins from a pre-trained run'),
        (('--tasks', 'reach-v3', '--finetuning', 'lora', '--base', 'none'), 'there is no run in'),
        (('--tasks', 'walker-run', '--finetuning', 'lora', '--base', 'base'), 'walker-run has 204 and 6'),
        (('--tasks', 'reach-v3', '--num_updates', '0'), 'num_updates must be at least 1'),
        (('--tasks', 'reach-v3', '--n_head', '3'), 'a width of 16 cannot be shared among 3 heads'),
        (('--tasks', 'reach-v3', '--num_updates', '10', '--evaluations', '3'), 'cannot be parted by 3 evaluations'),
    ],
)
def test_what_does_not_fit_is_refused(data, logbase, flags, message):
    with pytest.raises(InputError, match=re.escape(message)):
        build(data, logbase, *flags)


def test_a_longer_context_warns_of_copied_actions(data, logbase, caplog):
    build(data, logbase, '--tasks', TASKS[0], '--context', 5)
    assert 'the network may copy its past actions' in caplog.text
    caplog.clear()
    hiding = build(data, logbase, '--tasks', TASKS[0], '--context', 5, '--action_dropout', 1)
    assert 'may copy' not in caplog.text
    assert hiding.policy.hides_actions
    assert np.isfinite(float(hiding.update()['loss']))


def test_modulators_of_earlier_tasks_stay_byte_for_byte(data, logbase):
    """Adam's momentum would move them on after the switch, if it were not reset."""

    def moved_unchosen(*flags):
        tuned = finetune(data, logbase, 'l2m_lora', '--n_keys', 40, *flags)
        pool, chosen = tuned.policy.pool, set()
        choose = pool.choose

        def note(queries, task=None):
            choice = choose(queries, task)
            chosen.update(choice.ids.flatten().tolist())
            return choice

        for _ in range(10):
            tuned.update()
        before = pool.modulator.B_q.detach().clone()
        pool.choose = note
        for _ in range(10):
            tuned.update()
        moved = (pool.modulator.B_q != before).flatten(1).any(1).nonzero().flatten().tolist()
        assert set(moved) & chosen
        return set(moved) - chosen

    assert not moved_unchosen()
    assert moved_unchosen('--reset_optimizer', 'False')
