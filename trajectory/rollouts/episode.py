"""One episode of an environment: what happened in it, and its summary."""

import numpy as np

from trajectory.utils.errors import InputError


class Episode:
    """An episode that actions are fed to, one after the other.

    env           : an `OfflineEnvironment`
    seed          : of the environment, and of all that an agent draws in this episode
    max_steps     : to cut the episode at, if sooner than the environment does
    action_repeat : environment steps that each action is taken for
    goal          : `random` for a goal of the episode's own, which then ends there; else the environment's, if any

    observation, observations, states : the latest observation, all of them, and the simulator's states
    step, total_reward, terminated, success, over : how far it has come
    """

    def __init__(self, env, seed: int, max_steps: int | None = None, *, action_repeat: int = 1, goal: str = 'own'):
        self.env = env
        self.seed = seed
        self.max_steps = max_steps or env.max_episode_steps
        self.action_repeat = action_repeat
        self.ends_at_goal = goal == 'random'
        if self.ends_at_goal and not env.has_goals:
            raise InputError(f'{env.id} has no goals to reach.\n  Leave out --goal, or plan in a maze.')
        self.observation, info = env.reset(seed=seed, options={'goal': goal})
        self.observations = [self.observation]
        self.states = [env.state_vector()]
        self.step = 0
        self.total_reward = 0.0
        self.terminated = False
        self.success = info.get('success', False)
        self.over = False

    def act(self, action: np.ndarray) -> float:
        """Take an action for its steps.    returns : the reward of the first of them"""
        rewards = []
        while len(rewards) < self.action_repeat and not self.over:
            self.observation, reward, self.terminated, truncated, info = self.env.step(action)
            rewards.append(float(reward))
            self.observations.append(self.observation)
            self.states.append(self.env.state_vector())
            self.step += 1
            self.success = self.success or info.get('success', False)
            self.over = (
                self.terminated or truncated or self.step >= self.max_steps or (self.ends_at_goal and self.success)
            )
        self.total_reward += sum(rewards)
        return rewards[0]

    def summary(self) -> dict:
        """What `rollout.json` says of the episode; `score` is a fraction, 1 as good as D4RL's expert."""
        reached = {'goal': list(self.env.goal), 'success': self.success} if self.env.has_goals else {}
        return {
            'score': self.env.get_normalized_score(self.total_reward),
            'return': self.total_reward,
            'step': self.step,
            'term': bool(self.terminated),
            'seed': self.seed,
            'environment': self.env.id,
            'physics': self.env.physics,
            **reached,
        }
