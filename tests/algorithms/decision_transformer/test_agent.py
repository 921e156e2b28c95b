"""The policy against the original's evaluation, step by step."""

import numpy as np
import pytest

from tests.models.test_action_mlp import make as make_mlp
from tests.models.test_decision_transformer import make
from tests.support import golden, state_of
from trajectory.algorithms.decision_transformer.agent import ReturnConditionedAgent


@pytest.fixture(scope='module')
def arrays():
    return golden('decision/evaluation')


def agent_of(arrays, mode):
    config = arrays['config']
    return ReturnConditionedAgent(
        make(state_of(arrays), config['n_head']),
        config['K'],
        arrays['state_mean'],
        arrays['state_std'],
        config['scale'],
        config['target_return'],
        mode,
    )


@pytest.mark.parametrize('kind', ['normal', 'delayed', 'terminated'])
def test_it_acts_as_the_original_step_by_step(arrays, kind):
    agent = agent_of(arrays, str(arrays[f'{kind}/mode']))
    state, total = arrays['initial_state'], 0.0
    agent.reset(state[None], [0])
    for step in range(arrays[f'{kind}/length']):
        mask = arrays[f'{kind}/fed_attention_mask'][step] == 1
        for name in ('states', 'returns_to_go'):
            np.testing.assert_allclose(getattr(agent, name)[0], arrays[f'{kind}/fed_{name}'][step][mask], atol=1e-5)
        np.testing.assert_array_equal(agent.timesteps[0], arrays[f'{kind}/fed_timesteps'][step][mask])
        action = agent.act(state[None])
        np.testing.assert_allclose(action[0], arrays[f'{kind}/action'][step], atol=1e-5)
        state = arrays['A'] @ state + arrays['B'] @ action[0]
        reward = -(state**2).sum()
        total += reward
        over = (state**2).sum() > arrays[f'{kind}/limit']
        agent.observe(action, np.array([reward]), state[None], np.array([over]))
    assert total == pytest.approx(arrays[f'{kind}/return'], rel=1e-5)


def test_the_mlp_acts_as_the_originals_step_by_step(arrays):
    config, model = arrays['config'], make_mlp(arrays, 'bc/state')
    agent = ReturnConditionedAgent(
        model, model.n_steps, arrays['state_mean'], arrays['state_std'], config['scale'], config['target_return']
    )
    state, total = arrays['initial_state'], 0.0
    agent.reset(state[None], [0])
    for step in range(arrays['bc/length']):
        action = agent.act(state[None])
        np.testing.assert_allclose(action[0], arrays['bc/action'][step], atol=1e-5)
        state = arrays['A'] @ state + arrays['B'] @ action[0]
        reward = -(state**2).sum()
        total += reward
        agent.observe(action, np.array([reward]), state[None], np.array([False]))
    assert total == pytest.approx(arrays['bc/return'], rel=1e-5)


def test_episodes_in_one_batch_act_as_they_would_alone(arrays):
    states = np.stack([arrays['initial_state'], arrays['initial_state'] / 2])
    together, alone = agent_of(arrays, 'normal'), agent_of(arrays, 'normal')
    together.reset(states, [0, 1])
    alone.reset(states[1:], [1])
    for _ in range(9):
        actions, action = together.act(states), alone.act(states[1:])
        np.testing.assert_allclose(actions[1], action[0], atol=1e-6)
        states = states @ arrays['A'].T + actions @ arrays['B'].T
        rewards = -(states**2).sum(axis=1)
        together.observe(actions, rewards, states, np.zeros(2, bool))
        alone.observe(actions[1:], rewards[1:], states[1:], np.zeros(1, bool))


def test_noise_is_on_the_first_observation_alone_and_of_the_seed(arrays):
    agents = [agent_of(arrays, mode) for mode in ('normal', 'noise', 'noise', 'noise')]
    for agent, seed in zip(agents, (0, 0, 0, 1), strict=True):
        agent.reset(arrays['initial_state'][None], [seed])
    first = [agent.states.numpy().copy() for agent in agents]
    assert np.array_equal(first[1], first[2])
    assert not np.array_equal(first[1], first[3])
    assert 0 < np.abs((first[1] - first[0]) * arrays['state_std']).max() < 0.6
    for agent in agents[:2]:
        agent.observe(np.zeros((1, 2)), np.zeros(1), arrays['initial_state'][None], np.zeros(1, bool))
    np.testing.assert_array_equal(agents[0].states[0, -1], agents[1].states[0, -1])
