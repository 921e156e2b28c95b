"""The planning agent: what the model is shown, how plans are followed, and that episodes do not disturb each other."""

import numpy as np
import pytest
import torch

from tests.models.test_transformers import TINY
from tests.support import make_gpt
from trajectory.algorithms.trajectory_transformer.agent import PlanningAgent
from trajectory.datasets.discretization import UniformDiscretizer
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.search import beam_search
from trajectory.search.settings import SearchSettings
from trajectory.utils.errors import InputError

N = 8
WIDTH, ACTIONS = 3, 2
DIM = WIDTH + ACTIONS + 2
SETTINGS = SearchSettings(horizon=3, beam_width=2, n_expand=2, max_context_transitions=3, k_obs=1, cdf_act=0.6)


def agent_of(settings=SETTINGS, n_bins=N, env='Hopper-v4', width=WIDTH, **options):
    torch.manual_seed(0)
    model = make_gpt(
        TINY
        | {
            'vocab_size': n_bins,
            'block_size': 4 * (width + ACTIONS + 2) - 1,
            'observation_dim': width,
            'action_dim': ACTIONS,
            'transition_dim': width + ACTIONS + 2,
        }
    )
    edges = np.array([[-3.0], [3.0]]).repeat(width + ACTIONS + 2, axis=1)
    return PlanningAgent(model, UniformDiscretizer(edges, n_bins), get_preprocess_fn(env), settings, **options)


def observations_of(n_episodes, seed=0, width=WIDTH):
    return np.random.default_rng(seed).uniform(-2, 2, size=(n_episodes, width))


def act_out(agent, n_actions, n_episodes=2, seeds=None):
    """Act among random observations.    returns : [ n_actions x E x a ]"""
    agent.reset(observations_of(n_episodes), seeds or list(range(n_episodes)))
    actions, observations = [], observations_of(n_episodes)
    for t in range(n_actions):
        actions.append(agent.act(observations))
        observations = observations_of(n_episodes, seed=t + 1)
        agent.observe(actions[-1], np.ones(n_episodes), observations, np.zeros(n_episodes, dtype=bool))
    return np.stack(actions)


def test_an_episode_acts_as_it_would_alone():
    together = act_out(agent_of(), 3, seeds=[5, 6])
    agent = agent_of()
    agent.reset(observations_of(2)[1:], [6])
    np.testing.assert_array_equal(agent.act(observations_of(2)[1:])[0], together[0, 1])
    assert not np.array_equal(together[:, 0], together[:, 1])


def test_by_likelihood_it_takes_the_likeliest_actions_whatever_they_draw():
    settings = SearchSettings(horizon=2, beam_width=3, max_context_transitions=3, objective='likelihood')
    agent = agent_of(settings)
    actions = act_out(agent, 2, seeds=[5, 6])
    np.testing.assert_array_equal(act_out(agent_of(settings), 2, seeds=[7, 8]), actions)
    model = agent.model
    tokens = torch.as_tensor(agent.discretizer.discretize(observations_of(2)[:1], (0, WIDTH)))
    plan, _ = beam_search(model, tokens, 2 * DIM - WIDTH, 3, max_block=3 * DIM - 1, cached=False)
    expected = agent.discretizer.reconstruct(plan[WIDTH : WIDTH + ACTIONS][None], (WIDTH, WIDTH + ACTIONS))
    np.testing.assert_allclose(actions[0, :1], expected)


def test_threads_change_nothing():
    np.testing.assert_array_equal(act_out(agent_of(), 3, 4), act_out(agent_of(n_threads=2), 3, 4))


def test_threads_are_for_the_cpu():
    cpu = agent_of(n_threads=2)
    elsewhere = PlanningAgent(cpu.model.to('meta'), cpu.discretizer, cpu.preprocess_fn, SETTINGS, n_threads=2)
    assert (cpu.n_threads, elsewhere.n_threads) == (2, 1)


def test_a_context_is_what_was_seen_then_done_then_earned():
    agent = agent_of(n_bins=1000)
    observations = observations_of(1)
    agent.reset(observations, [0])
    agent.act(observations)
    agent.observe(np.array([[0.5, -0.5]]), np.array([1.5]), observations_of(1, seed=1), np.array([False]))
    found = agent.contexts[0][-1][0]
    expected = agent.discretizer.discretize(np.concatenate([observations[0], [0.5, -0.5, 1.5]]), subslice=(0, DIM - 1))
    np.testing.assert_array_equal(found[:-1], expected[0])


def test_the_context_keeps_the_latest_transitions():
    agent = agent_of()
    act_out(agent, 5)
    assert [len(context) for context in agent.contexts] == [3, 3]


def test_a_plan_is_followed_for_plan_freq_actions():
    agent = agent_of(SearchSettings(**{**vars(SETTINGS), 'plan_freq': 2}))
    plans = []
    agent.reset(observations_of(1), [0])
    for _ in range(4):
        action = agent.act(observations_of(1))
        plans.append(agent.plans[0].copy())
        np.testing.assert_array_equal(action[0], plans[-1][0, WIDTH : WIDTH + ACTIONS])
        agent.observe(action, np.ones(1), observations_of(1), np.array([False]))
    assert [len(plan) for plan in plans] == [3, 2, 3, 2]
    np.testing.assert_array_equal(plans[1], plans[0][1:])


def test_episodes_that_are_over_are_not_planned_for():
    agent = agent_of()
    agent.reset(observations_of(2), [0, 1])
    actions = agent.act(observations_of(2))
    agent.observe(actions, np.ones(2), observations_of(2), np.array([True, False]))
    before = agent.plans[0]
    assert np.array_equal(agent.act(observations_of(2))[0], np.zeros(ACTIONS))
    assert agent.plans[0] is before
    assert len(agent.plans[1]) == 3


def test_stop_tokens_are_counted_and_end_what_is_imagined():
    agent = agent_of()
    agent.reset(observations_of(1), [0])
    with torch.no_grad():
        agent.model.head.weight[:, N] = 0
        agent.model.head.weight[-1, N] = 1000  # the value column answers with the stop token, always or never
    agent.act(observations_of(1))
    agent.model.head.weight.data[-1, N] *= -1
    agent.act(observations_of(1))
    assert agent.summary(0)['stop_tokens'] == agent.stop_tokens[0]
    assert np.isfinite(agent.plans[0]).all()
    assert 1 <= len(agent.imagined(0)) <= 3


def test_an_ant_is_told_what_its_model_learned_from():
    agent = agent_of(env='Ant-v4', width=27)
    observations = np.zeros((1, 111))
    agent.reset(observations, [0])
    action = agent.act(observations)
    agent.observe(action, np.zeros(1), observations, np.array([False]))
    assert agent.observations[0].shape == (27,)


def test_an_environment_of_another_width_is_refused():
    agent = agent_of()
    with pytest.raises(InputError, match='observations of 5 columns, the model learned from 3'):
        agent.reset(observations_of(1, width=5), [0])


def test_settings_that_the_model_cannot_be_searched_with_are_refused():
    with pytest.raises(InputError, match='k_act must be between 1 and the'):
        agent_of(SearchSettings(k_act=0))
