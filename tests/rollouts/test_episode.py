"""Episodes in a real environment: what is remembered, and when they end."""

import numpy as np
import pytest

from trajectory.environments.making import make_environment
from trajectory.rollouts.episode import Episode
from trajectory.utils.errors import InputError


def episode_of(id='Hopper-v4', seed=0, max_steps=None, **settings):
    return Episode(make_environment(id, 'd4rl'), seed, max_steps, **settings)


def stand_still(episode, n_steps):
    """Take actions of zero until the steps or the episode are over."""
    for _ in range(n_steps):
        episode.act(np.zeros(episode.env.action_space.shape))
        if episode.over:
            break
    return episode


def test_an_episode_begins_where_its_seed_says():
    first, again, other = episode_of(seed=1), episode_of(seed=1), episode_of(seed=2)
    np.testing.assert_array_equal(first.observation, again.observation)
    assert not np.array_equal(first.observation, other.observation)


def test_a_step_is_remembered():
    episode, env = episode_of(), make_environment('Hopper-v4', 'd4rl')
    env.reset(seed=0)
    total = 0.0
    for _ in range(6):
        observation, reward, *_ = env.step(np.zeros(3))
        total += reward
        assert episode.act(np.zeros(3)) == reward
        np.testing.assert_array_equal(episode.observations[-1], observation)
        np.testing.assert_array_equal(episode.states[-1], env.state_vector())
    assert episode.total_reward == total
    assert episode.step == 6
    assert len(episode.observations) == len(episode.states) == 7


def test_an_episode_ends_when_the_robot_falls():
    episode = stand_still(episode_of(), 1000)
    assert episode.over
    assert episode.terminated
    assert episode.step < 1000
    summary = episode.summary()
    assert summary['term'] is True
    assert summary['step'] == episode.step


@pytest.mark.parametrize(
    ('id', 'max_steps', 'expected'),
    [('Hopper-v4', 4, 4), ('HalfCheetah-v4', None, 1000), ('HalfCheetah-v4', 2000, 1000)],
)
def test_an_episode_ends_when_its_steps_are_over(id, max_steps, expected):
    episode = stand_still(episode_of(id, max_steps=max_steps), 2000)
    assert (episode.over, episode.step, episode.summary()['term']) == (True, expected, False)


def test_a_summary_says_what_was_done_and_where():
    episode = stand_still(episode_of(seed=7), 3)
    assert episode.summary() == {
        'score': episode.env.get_normalized_score(episode.total_reward),
        'return': episode.total_reward,
        'step': 3,
        'term': False,
        'seed': 7,
        'environment': 'Hopper-v4',
        'physics': 'd4rl',
    }


def test_an_action_is_repeated_for_the_steps_between_two_transitions():
    episode, env = episode_of(action_repeat=3), make_environment('Hopper-v4', 'd4rl')
    env.reset(seed=0)
    action = np.array([0.5, -0.5, 0.1])
    rewards = [env.step(action)[1] for _ in range(3)]
    assert episode.act(action) == rewards[0]
    np.testing.assert_array_equal(episode.states[-1], env.state_vector())
    assert len(episode.states) == len(episode.observations) == 4
    assert (episode.step, episode.total_reward) == (3, sum(rewards))


def test_a_repeated_action_ends_with_the_episode():
    episode = stand_still(episode_of(action_repeat=3, max_steps=4), 10)
    assert (episode.step, len(episode.states)) == (4, 5)


def test_goals_are_for_mazes():
    with pytest.raises(InputError, match='Hopper-v4 has no goals to reach'):
        episode_of(goal='random')


def test_an_episode_with_a_goal_of_its_own_ends_there():
    pytest.importorskip('gymnasium_robotics', reason='needs gymnasium-robotics (pip install -e .[robotics])')
    env = make_environment('maze2d-open-v0', 'stock')
    for goal, ends in (('random', True), ('own', False)):
        episode = Episode(env, 0, goal=goal)
        env.set_state(env.goal, np.zeros(2))
        episode.act(np.zeros(2))
        assert (episode.success, episode.over) == (True, ends)
        assert episode.summary()['success'] is True
        assert episode.summary()['goal'] == list(env.goal)
