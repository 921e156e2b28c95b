"""Episodes in a real environment: what the planner is told, what is remembered, and when they end."""
import numpy as np
import pytest
import torch

from trajectory.datasets.discretization import UniformDiscretizer
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.environments.offline import make_environment
from trajectory.rollouts.episode import Episode
from trajectory.utils.errors import InputError

N = 8


def episode_of(id='Hopper-v4', seed=0, max_context_transitions=3, n_bins=N, **settings):
    env = make_environment(id, 'd4rl')
    preprocess_fn = get_preprocess_fn(id)
    n_numbers = len(preprocess_fn(env.reset()[0])) + env.action_space.shape[0] + 2
    discretizer = UniformDiscretizer(np.array([[-3.0], [3.0]]).repeat(n_numbers, axis=1), n_bins)
    return Episode(env, seed, discretizer, preprocess_fn, 'cpu', max_context_transitions, **settings)


def plan_of(episode, token=4, n_transitions=5):
    return torch.full((n_transitions, episode.discretizer.thresholds.shape[1]), token)


def act_out(episode, n_steps):
    """Follow plans that keep still, until the steps or the episode are over."""
    for _ in range(n_steps):
        episode.take(plan_of(episode))
        episode.act(np.zeros(episode.env.action_space.shape))
        if episode.over:
            break
    return episode


def test_an_episode_begins_where_its_seed_says():
    first, again, other = episode_of(seed=1), episode_of(seed=1), episode_of(seed=2)
    np.testing.assert_array_equal(first.observation, again.observation)
    assert not np.array_equal(first.observation, other.observation)
    draws = [torch.rand(3, generator=episode.generator) for episode in (first, again, other)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_the_prefix_is_what_happened_and_the_present():
    episode = episode_of()
    lengths = []
    for _ in range(5):
        prefix = episode.prefix()
        lengths.append(len(prefix))
        present = episode.discretizer.discretize(episode.observation, subslice=(0, 11))
        np.testing.assert_array_equal(prefix[-11:], present[0])
        act_out(episode, 1)
    assert lengths == [11, 11 + 16, 11 + 2 * 16, 11 + 3 * 16, 11 + 3 * 16]
    assert len(act_out(episode_of(prefix_context=False), 3).prefix()) == 11


def test_a_step_is_remembered():
    episode = episode_of()
    env = make_environment('Hopper-v4', 'd4rl')
    env.reset(seed=0)
    total = 0.0
    for _ in range(6):
        observation, reward, *_ = env.step(np.zeros(3))
        total += reward
        act_out(episode, 1)
        np.testing.assert_array_equal(episode.observations[-1], observation)
        np.testing.assert_array_equal(episode.states[-1], env.state_vector())
    assert episode.total_reward == total
    assert episode.step == 6
    assert len(episode.observations) == len(episode.states) == 7


def test_a_context_is_what_was_seen_then_done_then_earned():
    episode = episode_of(n_bins=1000)
    before = episode.observation
    episode.take(plan_of(episode))
    episode.act(np.array([0.5, -0.5, 1.0]))
    expected = np.concatenate([before, [0.5, -0.5, 1.0], [episode.total_reward]])
    found = episode.context[-1][0]
    np.testing.assert_array_equal(found[:-1], episode.discretizer.discretize(expected, subslice=(0, 15))[0])
    assert not np.array_equal(found[:11], episode.discretizer.discretize(episode.observation, subslice=(0, 11))[0])


def test_a_plan_grows_shorter_as_it_is_followed():
    episode = episode_of()
    episode.take(plan_of(episode, token=2))
    np.testing.assert_allclose(episode.plan, np.full((5, 16), -3 + 2.5 * 6 / N))
    episode.act(np.zeros(3))
    episode.act(np.zeros(3))
    assert episode.plan.shape == (3, 16)


def test_stop_tokens_are_counted_and_acted_on_as_the_last_bin():
    episode = episode_of()
    sequence = plan_of(episode)
    sequence[2:4, 0] = N
    episode.take(sequence)
    episode.take(sequence)
    assert episode.stop_tokens == episode.summary()['stop_tokens'] == 4
    assert np.isfinite(episode.plan).all()
    assert len(episode.imagined()) == 2     # of what comes after it, nothing is drawn
    episode.act(np.zeros(3))
    assert len(episode.imagined()) == 1
    episode.act(np.zeros(3))
    assert len(episode.imagined()) == 1     # but one transition always is


def test_an_episode_ends_when_the_robot_falls():
    episode = act_out(episode_of(), 1000)
    assert episode.over
    assert episode.terminated
    assert episode.step < 1000
    summary = episode.summary()
    assert summary['term'] is True
    assert summary['step'] == episode.step


@pytest.mark.parametrize(('id', 'max_steps', 'expected'), [('Hopper-v4', 4, 4), ('HalfCheetah-v4', None, 1000),
                                                       ('HalfCheetah-v4', 2000, 1000)])
def test_an_episode_ends_when_its_steps_are_over(id, max_steps, expected):
    episode = act_out(episode_of(id, max_context_transitions=1, max_steps=max_steps), 2000)
    assert (episode.over, episode.step, episode.summary()['term']) == (True, expected, False)


def test_a_summary_says_what_was_done_and_where():
    episode = act_out(episode_of(seed=7), 3)
    assert episode.summary() == {
        'score': episode.env.get_normalized_score(episode.total_reward), 'return': episode.total_reward, 'step': 3,
        'term': False, 'seed': 7, 'environment': 'Hopper-v4', 'physics': 'd4rl', 'stop_tokens': 0,
    }


def test_an_ant_is_told_what_its_model_learned_from():
    episode = act_out(episode_of('Ant-v4'), 2)
    assert episode.observations[-1].shape == (111,)
    assert episode.observation.shape == (27,)
    assert len(episode.prefix()) == 27 + 2 * (27 + 8 + 2)


def test_an_action_is_held_for_the_steps_between_two_transitions():
    episode, env = episode_of(hold=3), make_environment('Hopper-v4', 'd4rl')
    env.reset(seed=0)
    action = np.array([0.5, -0.5, 0.1])
    rewards = [env.step(action)[1] for _ in range(3)]
    episode.take(plan_of(episode))
    episode.act(action)
    np.testing.assert_array_equal(episode.states[-1], env.state_vector())
    assert len(episode.states) == len(episode.observations) == 4
    assert (episode.step, episode.total_reward) == (3, sum(rewards))
    assert len(episode.plan) == 4
    assert len(episode.context) == 1
    first_reward = episode.discretizer.discretize(np.array([rewards[0]]), subslice=(14, 15))[0, 0]
    assert episode.context[0][0, 14] == first_reward


def test_a_held_action_ends_with_the_episode():
    episode = act_out(episode_of(hold=3, max_steps=4), 10)
    assert (episode.step, len(episode.states)) == (4, 5)


def test_goals_are_for_mazes():
    with pytest.raises(InputError, match='Hopper-v4 has no goals to reach'):
        episode_of(goal='random')
    with pytest.raises(InputError, match=r'Hopper-v4 has none.\n  Take a model'):
        episode_of().goal()


def test_an_episode_with_a_goal_of_its_own_ends_there():
    pytest.importorskip('gymnasium_robotics', reason='needs gymnasium-robotics (pip install -e .[robotics])')
    env = make_environment('maze2d-open-v0', 'stock')
    discretizer = UniformDiscretizer(np.array([[-6.0], [6.0]]).repeat(8, axis=1), 60)
    for goal, ends in (('random', True), ('own', False)):
        episode = Episode(env, 0, discretizer, lambda x: x, 'cpu', 3, goal=goal)
        np.testing.assert_array_equal(
            episode.goal(), discretizer.discretize(np.array([*env.goal, 0, 0]), subslice=(0, 4))[0])
        env.set_state(env.goal, np.zeros(2))
        episode.take(plan_of(episode))
        episode.act(np.zeros(2))
        assert (episode.success, episode.over) == (True, ends)
        assert episode.summary()['success'] is True
        assert episode.summary()['goal'] == list(env.goal)
