"""Let plans act in an environment, and remember what happened."""
import numpy as np
import torch
from torch import Tensor

from trajectory.search.utils import make_prefix, update_context
from trajectory.utils.errors import InputError


class Episode:
    """One episode: what the planner is told of it, what it did, and its summary.

    env             : an `OfflineEnvironment`
    seed            : of the environment and of every draw that the episode's plans make
    preprocess_fn   : of an observation, as for the data the model learned from
    max_steps       : to cut the episode at, if sooner than the environment does
    hold            : steps that each action is held for: as many as lie between the transitions the model learned from
    goal            : `random` for a goal of the episode's own, which then ends there; else the environment's, if any
    """

    def __init__(self, env, seed: int, discretizer, preprocess_fn, device, max_context_transitions: int | None,
                 prefix_context: bool = True, max_steps: int | None = None, *, hold: int = 1, goal: str = 'own'):
        self.env = env
        self.seed = seed
        self.discretizer = discretizer
        self.preprocess_fn = preprocess_fn
        self.device = device
        self.max_context_transitions = max_context_transitions
        self.prefix_context = prefix_context
        self.max_steps = max_steps or env.max_episode_steps
        self.generator = torch.Generator(device).manual_seed(seed)
        self.hold = hold
        self.ends_at_goal = goal == 'random'
        if self.ends_at_goal and not env.has_goals:
            raise InputError(f'{env.id} has no goals to reach.\n  Leave out --goal, or plan in a maze.')
        first, info = env.reset(seed=seed, options={'goal': goal})
        self.observation = preprocess_fn(first)
        self.observations = [first]
        self.states = [env.state_vector()]
        self.context = []
        self.plan = None            # [ H x D ], its remaining transitions as numbers
        self.n_lasting = 0          # of them, before one says that the episode is over
        self.step = 0
        self.total_reward = 0.0
        self.stop_tokens = 0
        self.terminated = False
        self.success = info.get('success', False)
        self.over = False

    def prefix(self) -> Tensor:
        """[ T ]  the tokens to plan from."""
        return make_prefix(self.discretizer, self.context, self.observation, self.prefix_context)[0].to(self.device)

    def goal(self) -> Tensor:
        """[ observation_dim ]  tokens of being at the goal, at rest."""
        if not self.env.has_goals:
            raise InputError(f'the model was told of a goal, and {self.env.id} has none.\n'
                             '  Take a model that was trained without --goal_conditioned.')
        goal = self.preprocess_fn(self.env.observe_goal())
        return torch.as_tensor(self.discretizer.discretize(goal, subslice=(0, goal.size)))[0].to(self.device)

    def take(self, sequence: Tensor) -> None:
        """Follow a new plan.    sequence : [ H x D ]  tokens"""
        stops = sequence == self.discretizer.N
        self.stop_tokens += int(stops.sum())
        self.plan = self.discretizer.reconstruct(sequence)
        self.n_lasting = int((stops.any(dim=1).cumsum(dim=0) == 0).sum())

    def imagined(self) -> np.ndarray:
        """[ T x D ]  what the rest of the plan imagines, up to where it says that the episode is over."""
        return self.plan[:max(1, self.n_lasting)]

    def act(self, action: np.ndarray) -> None:
        """Hold an action for its steps in the environment; the plan is one transition shorter after it."""
        before, rewards = self.observation, []
        while len(rewards) < self.hold and not self.over:
            observation, reward, self.terminated, truncated, info = self.env.step(action)
            rewards.append(float(reward))
            self.observations.append(observation)
            self.states.append(self.env.state_vector())
            self.step += 1
            self.success = self.success or info.get('success', False)
            self.over = (self.terminated or truncated or self.step >= self.max_steps
                         or (self.ends_at_goal and self.success))
        self.context = update_context(self.context, self.discretizer, before, action, rewards[0],
                                      self.max_context_transitions)
        self.observation = self.preprocess_fn(observation)
        self.plan, self.n_lasting = self.plan[1:], self.n_lasting - 1
        self.total_reward += sum(rewards)

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
            'stop_tokens': self.stop_tokens,
            **reached,
        }
