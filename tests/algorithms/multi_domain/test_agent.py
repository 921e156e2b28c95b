"""Acting, column by column, is the original's."""

import numpy as np
import pytest
import torch

from tests.models.test_multi_domain import NUMBERS, model  # noqa: F401  a fixture
from trajectory.algorithms.multi_domain.agent import MultiDomainAgent
from trajectory.algorithms.multi_domain.policy import Policy
from trajectory.environments.suites.registry import SuiteTask
from trajectory.models.tokens import ActionTokens

CONFIG = NUMBERS['config']


def make_agent(model, task, scale, target, tokens=None):  # noqa: F811
    statistics = torch.zeros(204), torch.ones(204)
    policy = Policy(model, tokens or ActionTokens(midpoints=False), statistics, CONFIG['context'])
    return MultiDomainAgent(policy, [task], [target], [scale])


@pytest.mark.parametrize('number', [0, 1])
def test_every_column_is_the_originals(model, number):  # noqa: F811
    key, width, scale = f'act{number}', CONFIG['action_dims'][number], CONFIG['reward_scale'][number]
    task = SuiteTask('x', 'metaworld', NUMBERS[f'{key}/states'].shape[1], width, 1000)
    agent = make_agent(model, task, scale, CONFIG['target_of_act'])
    states, actions, rewards = (NUMBERS[f'{key}/{name}'] for name in ('states', 'actions', 'rewards'))
    agent.reset(states[:1], [0])
    for t in range(len(states) - 1):
        agent.act(states[t : t + 1])
        agent.actions[:, -1, :width] = agent.policy.tokens.encode(torch.tensor(actions[t : t + 1]))  # as recorded
        assert agent.returns_to_go.item() == pytest.approx(float(NUMBERS[f'{key}/rtg'][t]), rel=1e-5)
        agent.observe(actions[t : t + 1], rewards[t : t + 1] * scale, states[t + 1 : t + 2], np.array([False]))
    agent._begin_step(states[-1:])
    for column in range(width):
        with torch.no_grad():
            logits = agent.logits(column)[0]
        assert logits.numpy() == pytest.approx(NUMBERS[f'{key}/logits'][column], abs=1e-4)
        agent.actions[:, -1, column] = logits.argmax()
    assert agent.actions[0, -1, :width].tolist() == NUMBERS[f'{key}/tokens'].tolist()
    values = agent.policy.tokens.decode(agent.actions[0, -1, :width]).numpy()
    assert values == pytest.approx(NUMBERS[f'{key}/action'], abs=1e-6)


def test_environments_do_not_change_one_another(model):  # noqa: F811
    tasks = [SuiteTask('x', 'metaworld', 39, 4, 200), SuiteTask('y', 'dm_control', 204, 2, 1000, (0, 1))]
    states = np.random.default_rng(0).normal(size=(2, 204)).astype(np.float32)
    states[0, 39:] = 0
    statistics = torch.zeros(204), torch.ones(204)
    policy = Policy(model, ActionTokens(), statistics, 3)
    both = MultiDomainAgent(policy, tasks, [1.0, 2.0], [200.0, 100.0])
    both.reset(states, [0, 0])
    together = [both.act(states) for _ in range(2)]
    assert not together[0][1, 2:].any()
    for k, task in enumerate(tasks):
        alone = MultiDomainAgent(policy, [task], [1.0 + k], [200.0 / (k + 1)])
        alone.reset(states[k : k + 1], [0])
        for t in range(2):
            assert alone.act(states[k : k + 1])[0] == pytest.approx(together[t][k], abs=1e-6)
