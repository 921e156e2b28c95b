"""Policies act in several tasks side by side; success is told at the last step and at any."""

import pytest
import torch

from trajectory.algorithms.multi_domain.evaluation import SuiteEpisode, SuiteEvaluator, mean_scores, score_of
from trajectory.algorithms.multi_domain.policy import Policy
from trajectory.environments.suites.registry import find_task
from trajectory.models.multi_domain import MultiDomainTransformer
from trajectory.models.tokens import ActionTokens


def test_equal_seeds_give_equal_episodes_and_environments_are_kept():
    pytest.importorskip('metaworld')
    torch.manual_seed(0)
    policy = Policy(MultiDomainTransformer(39, 4, 8, 16, 1, 2), ActionTokens(8), (torch.zeros(39), torch.ones(39)), 1)
    tasks = [find_task('reach-v3'), find_task('drawer-close-v3')]
    evaluator = SuiteEvaluator(tasks, [5.0, 5.0], [200.0, 200.0])
    first = evaluator.evaluate(policy, 2, seed=7)
    assert [(one.task, one.seed) for one in first] == [(task.name, 7 + k) for task in tasks for k in range(2)]
    assert all(one.steps == 200 for one in first)
    envs = dict(evaluator.envs)
    assert evaluator.evaluate(policy, 2, seed=7) == first
    assert evaluator.envs == envs
    alone = SuiteEvaluator(tasks[1:], [5.0], [200.0])
    assert alone.evaluate(policy, 1, seed=8)[0].total == pytest.approx(first[3].total, rel=1e-4)
    evaluator.close()


def test_scores_are_success_or_normalized_returns():
    assert score_of(find_task('reach-v3'), 1000, True) == 1
    low, high = find_task('walker-run').references
    assert score_of(find_task('walker-run'), (low + high) / 2, False) == pytest.approx(0.5)
    episodes = [SuiteEpisode('a', k, 9, 10.0 * k, k == 1, True, float(k == 1)) for k in range(4)]
    assert mean_scores(episodes) == {'a': {'score': 0.25, 'any_success': 1.0, 'return': 15.0}}
