"""Evaluate an agent: one loop in which it acts for several episodes side by side."""

from collections.abc import Callable

import numpy as np

from trajectory.environments.spec import EnvironmentSpec
from trajectory.rollouts.agent import Agent
from trajectory.rollouts.episode import Episode


def run_episodes(
    agent: Agent,
    episodes: list[Episode],
    *,
    stop=False,
    on_act: Callable | None = None,
    on_end: Callable | None = None,
    on_step: Callable | None = None,
) -> None:
    """Let an agent act until every episode is over.

    stop    : true once there is no time left; the episodes then end where they are
    on_act  : called with the index of each episode that is not over, after the agent has chosen and before it acts
    on_end  : called with the index of an episode once it is over
    on_step : called with the number of episodes that acted, after each action
    """
    observations = np.stack([episode.observation for episode in episodes])
    has_goals = all(episode.env.has_goals for episode in episodes)
    goals = np.stack([episode.env.observe_goal() for episode in episodes]) if has_goals else None
    agent.reset(observations, [episode.seed for episode in episodes], goals)
    while not stop and (live := [k for k, episode in enumerate(episodes) if not episode.over]):
        actions = agent.act(observations)
        rewards = np.zeros(len(episodes))
        for k in live:
            if on_act:
                on_act(k)
            rewards[k] = episodes[k].act(actions[k])
        observations = np.stack([episode.observation for episode in episodes])
        agent.observe(actions, rewards, observations, np.array([episode.over for episode in episodes]))
        for k in live:
            if on_end and episodes[k].over:
                on_end(k)
        if on_step:
            on_step(len(live))


def make_episodes(
    spec: EnvironmentSpec, n_episodes: int, seed: int = 0, max_steps: int | None = None, *, action_repeat: int = 1
) -> list[Episode]:
    """Episodes of environments that are made from a specification; the k-th has the seed `seed + k`."""
    return [Episode(spec.make(), seed + k, max_steps, action_repeat=action_repeat) for k in range(n_episodes)]


def evaluate(
    agent: Agent, spec: EnvironmentSpec, n_episodes: int, *, max_steps: int | None = None, seed: int = 0, stop=False
) -> dict[str, float]:
    """Mean return of some episodes, and mean score where there are reference returns: 1 as good as D4RL's expert."""
    episodes = make_episodes(spec, n_episodes, seed, max_steps, action_repeat=agent.action_repeat)
    run_episodes(agent, episodes, stop=stop)
    numbers = {'return': float(np.mean([episode.total_reward for episode in episodes]))}
    scores = [episode.summary()['score'] for episode in episodes]
    return numbers if None in scores else {**numbers, 'score': float(np.mean(scores))}
