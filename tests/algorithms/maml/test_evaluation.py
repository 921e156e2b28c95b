"""Held-out evaluation of adaptation: what it records, and that adaptation is worth its steps."""

import json

import numpy as np
import pytest
import torch

from tests.algorithms.maml.test_algorithm import SMALL, acting, build
from tests.scripts.test_train_and_plan import refused, start
from trajectory.algorithms.maml.evaluation import evaluate_adaptation, step_sizes
from trajectory.utils.errors import InputError


def test_the_first_step_is_the_trained_one_and_later_ones_are_half_of_it():
    assert step_sizes(acting('--num_steps', '3'), 0.2) == [0.2, 0.1, 0.1]
    assert step_sizes(acting('--num_steps', '2', '--fast_lr', '1'), 0.2) == [1, 0.5]
    assert step_sizes(acting('--num_steps', '0'), 0.0) == []
    with pytest.raises(InputError, match=r'fast_lr is 0, and a gradient step needs a size'):
        step_sizes(acting(), 0.0)
    with pytest.raises(InputError, match='n_tasks must be at least 1'):
        step_sizes(acting('--n_tasks', '0'), 0.1)


@pytest.fixture(scope='module')
def logbase(tmp_path_factory):
    logbase = tmp_path_factory.mktemp('logs')
    start('train', '--config', 'config.meta', '--num_batches', 2, '--logbase', logbase, *SMALL)
    return logbase


def evaluate(logbase, *flags):
    start('evaluate', '--config', 'config.meta', '--logbase', logbase, '--n_tasks', 3, '--n_episodes', 4, *flags)


def test_each_task_after_each_step_is_an_episode_of_an_experiment(logbase, capsys):
    evaluate(logbase, '--num_steps', 1, '--n_videos', 1)
    printed = capsys.readouterr().out
    assert 'Return on 3 held-out tasks of 2DNavigation-v0, 4 episodes each' in printed
    assert 'The first step gains' in printed
    folder = logbase / '2DNavigation-v0/evaluations/maml/default_trained'
    assert sorted(path.name for path in folder.iterdir()) == ['steps0', 'steps1']
    rollouts = [json.loads((folder / f'steps1/{k}/rollout.json').read_text()) for k in range(3)]
    assert [rollout['seed'] for rollout in rollouts] == [0, 1, 2]
    assert {rollout['gradient_steps'] for rollout in rollouts} == {1}
    assert len({str(rollout['task']) for rollout in rollouts}) == 3
    assert len({rollout['identity'] for rollout in rollouts}) == 1
    with np.load(folder / 'steps0/0/episodes.npz') as kept:
        goal = json.loads((folder / 'steps0/0/rollout.json').read_text())['task']['goal']
        moved = kept['observations'][1:, 0]  # after the first step
        gaps = np.linalg.norm(moved - goal, axis=1)
        assert -gaps == pytest.approx(kept['rewards'][:-1, 0], abs=1e-6)
    assert not (folder / 'steps0/1/episodes.npz').exists()


def test_untrained_weights_are_another_experiment(logbase):
    evaluate(logbase, '--weights', 'untrained', '--num_steps', 0)
    evaluate(logbase, '--num_steps', 0)
    folder = logbase / '2DNavigation-v0/evaluations/maml'
    trained, untrained = (
        json.loads((folder / f'default_{weights}/steps0/0/rollout.json').read_text())
        for weights in ('trained', 'untrained')
    )
    assert trained['task'] == untrained['task']
    assert trained['model'] != untrained['model']
    assert untrained['gpt_epoch'] == 0


def test_a_run_that_is_missing_is_refused(tmp_path, capfd):
    assert 'there is no run in' in refused(
        capfd, tmp_path, 'evaluate', '--config', 'config.meta', '--logbase', tmp_path, '--n_tasks', 1
    )


def test_a_robot_is_filmed_before_and_after(tmp_path):
    flags = ('--config', 'config.meta', '--env', 'HalfCheetahDir-v1', '--logbase', tmp_path, '--num_workers', 1)
    start('train', *flags, '--num_batches', 1, *SMALL)
    start('evaluate', *flags, '--n_tasks', 1, '--n_episodes', 1, '--num_steps', 1, '--n_videos', 1)
    films = sorted(tmp_path.glob('**/rollout.mp4'))
    assert [film.parts[-3] for film in films] == ['steps0', 'steps1']
    assert all(film.stat().st_size > 10_000 for film in films)


def gains(algorithm, n_tasks=20):
    """Gain of the first step on held-out tasks."""
    flags = acting('--n_tasks', str(n_tasks), '--num_steps', '1', '--seed', '500')
    returns = evaluate_adaptation(algorithm, flags)
    return returns[1] - returns[0], returns[1]


def lower_bound(numbers):
    return numbers.mean() - 2 * numbers.std(ddof=1) / len(numbers) ** 0.5


def test_one_step_is_worth_it_on_navigation():
    """The smallest honest check: 10 tasks of 10 episodes, 25 updates; the reference gains 22 to 23 ± 3."""
    algorithm = build('--hidden_size', '64', '--fast_batch_size', '10', '--meta_batch_size', '10', '--seed', '1')
    untrained, reached_untrained = gains(algorithm)
    for _ in range(25):
        algorithm.update()
    trained, reached = gains(algorithm)
    assert lower_bound(trained) > 10
    assert trained.mean() > 15
    assert untrained.mean() < trained.mean() / 2
    assert reached.mean() > reached_untrained.mean() + 40


def test_one_step_is_worth_it_in_tabular_mdps():
    """20 tasks of 20 episodes, 40 updates; the reference gains 2.7 to 3.1 ± 0.4."""
    torch.manual_seed(0)
    flags = ('--fast_batch_size', '20', '--meta_batch_size', '20', '--hidden_size', '32')
    algorithm = build(*flags, env='TabularMDP-v0')
    untrained, _ = gains(algorithm, 40)
    for _ in range(40):
        algorithm.update()
    trained, _ = gains(algorithm, 40)
    assert lower_bound(trained) > 1.5
    assert trained.mean() > 2
    assert untrained.mean() < 1
