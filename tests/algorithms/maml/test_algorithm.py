"""MAML as an algorithm: it learns, goes on to the same bits, skips what teaches nothing, and stops at what is wrong."""

import json
import re

import numpy as np
import pytest
import torch

from scripts.train import Parser
from tests.scripts.test_train_and_plan import start
from trajectory.algorithms.maml import ALGORITHM as MAML
from trajectory.algorithms.maml.algorithm import make_policy
from trajectory.algorithms.maml.evaluation import evaluate_adaptation
from trajectory.cli.setup import Parser as Settings
from trajectory.environments.families import navigation
from trajectory.training.distributed import Distributed
from trajectory.utils.errors import InputError

SMALL = ('--hidden_size', '8', '--fast_batch_size', '3', '--meta_batch_size', '4', '--threads', '1')


def settings(*flags, env='2DNavigation-v0'):
    return Parser().parse_args('train', ['--config', 'config.meta', '--env', env, *SMALL, *flags])


def build(*flags, **options):
    torch.manual_seed(0)
    return MAML.build(settings(*flags, **options), torch.device('cpu'), Distributed())


def weights_of(algorithm):
    return torch.cat([value.flatten() for value in algorithm.policy.state_dict().values()])


def acting(*flags):
    return Settings().parse_args('evaluate', ['--config', 'config.meta', '--dataset', '2DNavigation-v0', *flags])


@pytest.mark.parametrize('env', ['2DNavigation-v0', 'Bandit-K5-v0', 'TabularMDP-v0'])
def test_an_update_moves_the_weights_and_tells_the_returns(env):
    algorithm = build(env=env)
    before = weights_of(algorithm)
    numbers = algorithm.update()
    assert set(algorithm.logged) <= set(numbers)
    assert numbers['accepted'] == (0 if torch.equal(before, weights_of(algorithm)) else 1)
    assert numbers['kl'] < 0.01


def test_a_run_that_is_cut_off_goes_on_to_the_same_bits():
    whole, cut = build(), build()
    for _ in range(3):
        whole.update()
    cut.update()
    state = cut.state_dict()
    resumed = build()
    resumed.load_state_dict(state)
    numbers = [resumed.update() for _ in range(2)]
    assert torch.equal(weights_of(whole), weights_of(resumed))
    assert numbers[0]['total_rewards/before_update'] != numbers[1]['total_rewards/before_update']


def test_other_seeds_sample_other_episodes():
    returns = {build('--seed', seed).update()['total_rewards/before_update'] for seed in ('1', '2')}
    assert len(returns) == 2


def test_first_order_is_another_update_of_the_same_episodes():
    second, first = build(), build('--first_order')
    returns = [algorithm.update()['total_rewards/after_update'] for algorithm in (second, first)]
    assert returns[0] == returns[1]
    assert not torch.equal(weights_of(second), weights_of(first))


def test_without_adaptation_it_is_trpo_on_all_tasks():
    algorithm = build('--fast_lr', '0')
    tasks = algorithm.sampler.sample_tasks(4, (42, 0, 0))
    params = algorithm.learner.expand(algorithm.policy.params, 4)
    rated = algorithm.learner.rate(algorithm.sampler.sample(algorithm.policy, tasks, (1,)))
    adapted = algorithm.learner.adapt(rated, params)
    assert all(torch.equal(adapted[name], params[name]) for name in params)


def test_several_gradient_steps_are_told_as_before_and_after():
    algorithm = build('--num_steps', '2')
    numbers = algorithm.update()
    assert numbers['total_rewards/before_update'] != numbers['total_rewards/after_update']


def test_equal_rewards_are_said_and_no_step_is_made(caplog, monkeypatch):
    monkeypatch.setattr(navigation.Navigation, 'step', _with_rewards(lambda rewards: np.zeros_like(rewards)))
    algorithm = build()
    before = weights_of(algorithm)
    numbers = algorithm.update()
    assert numbers['accepted'] == 0
    assert torch.equal(before, weights_of(algorithm))
    assert 'the rewards of each task are all equal' in caplog.text


def test_a_reward_that_is_no_number_stops_the_run_and_the_checkpoint_is_whole(tmp_path, monkeypatch, capsys):
    flags = ('--config', 'config.meta', '--num_batches', '5', '--logbase', str(tmp_path), '--save_steps', '1', *SMALL)
    original, calls = navigation.Navigation.step, []

    def step(self, actions, rng):
        calls.append(1)
        observations, rewards, ended = original(self, actions, rng)
        return observations, rewards * (float('nan') if len(calls) > 500 else 1), ended

    with monkeypatch.context() as patch:
        patch.setattr(navigation.Navigation, 'step', step)
        with pytest.raises(SystemExit):
            start('train', *flags)
    assert 'a reward of update 3 became nan' in capsys.readouterr().err
    start('train', *flags)  # goes on from the second update
    folder = tmp_path / '2DNavigation-v0/maml/default'
    rows = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    assert [row['step'] for row in rows] == [1, 2, 3, 4, 5]
    start('train', *flags, '--exp_name', 'whole')
    whole, resumed = (
        torch.load(tmp_path / f'2DNavigation-v0/{name}/state_5.pt', weights_only=True)
        for name in ('whole', 'maml/default')
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def _with_rewards(change):
    original = navigation.Navigation.step

    def step(self, actions, rng):
        observations, rewards, ended = original(self, actions, rng)
        return observations, change(rewards), ended

    return step


def test_a_saved_run_is_loaded_and_adapts_as_it_did(tmp_path):
    algorithm = build()
    algorithm.update()
    algorithm.save_recipe(tmp_path)
    algorithm.save(tmp_path, 1)
    loaded = MAML.load(tmp_path)
    assert loaded.epoch == 1
    assert loaded.identity() == algorithm.identity()
    flags = acting('--n_tasks', '3', '--n_episodes', '2', '--num_steps', '1')
    assert np.array_equal(evaluate_adaptation(loaded, flags), evaluate_adaptation(algorithm, flags))
    assert algorithm.evaluate_policy(None, flags).keys() == {
        'total_rewards/heldout_0_steps',
        'total_rewards/heldout_1_steps',
    }


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'policy': 'normalish'}, 'policy is'),
        ({'hidden_size': 0}, 'hidden_size is'),
        ({'nonlinearity': 'sine'}, 'nonlinearity is'),
        ({'env': '3DNavigation-v0'}, "Did you mean '2DNavigation-v0'"),
        ({'input_size': 3}, 'does not fit the recipe'),
    ],
)
def test_a_broken_recipe_is_refused(tmp_path, change, message):
    algorithm = build()
    algorithm.save_recipe(tmp_path)
    algorithm.save(tmp_path, 1)
    recipe = json.loads((tmp_path / 'model_config.json').read_text())
    (tmp_path / 'model_config.json').write_text(json.dumps({**recipe, **change}))
    with pytest.raises(InputError, match=re.escape(message)):
        MAML.load(tmp_path)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (('--meta_batch_size', '0'), 'meta_batch_size must be at least 1'),
        (('--fast_batch_size', '0'), 'fast_batch_size must be at least 1'),
        (('--num_steps', '0'), 'num_steps must be at least 1'),
        (('--num_batches', '0'), 'num_batches must be at least 1'),
        (('--fast_lr', '-0.1'), 'fast_lr must be at least 0'),
        (('--max_kl', '0'), 'max_kl must be above 0'),
        (('--gamma', '1.5'), 'gamma must be from 0 to 1'),
        (('--ls_backtrack_ratio', '0'), 'ls_backtrack_ratio must be above 0'),
    ],
)
def test_settings_out_of_range_are_refused(flags, message):
    with pytest.raises(InputError, match=re.escape(message)):
        build(*flags)


def test_an_unknown_family_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'HalfCheetahDir-v1'"):
        build(env='HalfCheetahDirection-v1')


def test_fewer_tasks_than_processes_are_refused():
    with pytest.raises(InputError, match='4 tasks cannot be shared out among 5 processes'):
        MAML.build(settings(), torch.device('cpu'), Distributed(0, 5))


def test_the_references_flags_are_understood():
    args = Parser().parse_args(
        'train',
        ['--config', 'config.meta', '--env-name', 'TabularMDP-v0', '--fast-batch-size', '7', '--first-order',
         '--cg-iters', '5', '--output-folder', 'mine'],
    )  # fmt: skip
    assert (args.dataset, args.fast_batch_size, args.first_order, args.cg_iters) == ('TabularMDP-v0', 7, True, 5)
    assert args.savepath.parts[-2:] == ('TabularMDP-v0', 'mine')
    assert (args.hidden_size, args.fast_lr) == (32, 0.5)  # the family's preset


def test_policies_follow_the_action_space():
    assert build().recipe['policy'] == 'normal'
    assert build(env='Bandit-K5-v0').recipe == {**build(env='Bandit-K5-v0').recipe, 'policy': 'categorical',
                                                'output_size': 5}  # fmt: skip
    assert make_policy(build().recipe).last_layer == 'mu'


def test_each_update_has_tasks_of_its_own():
    algorithm, goals = build(), []
    sample = algorithm.sampler.sample

    def note(policy, tasks, *rest):
        goals.append(tuple(float(task['goal'][0]) for task in tasks))
        return sample(policy, tasks, *rest)

    algorithm.sampler.sample = note
    algorithm.update()
    algorithm.update()
    assert goals[0] == goals[1]  # before and after adaptation
    assert not set(goals[0]) & set(goals[2])
    assert len(set(goals[0])) == 4
