"""Let plans act in an environment, and remember what happened."""
import numpy as np
import torch
from torch import Tensor

from trajectory.search.utils import make_prefix, update_context


class Episode:
    """One episode: what the planner is told of it, what it did, and its summary.

    env             : an `OfflineEnvironment`
    seed            : of the environment and of every draw that the episode's plans make
    preprocess_fn   : of an observation, as for the data the model learned from
    max_steps       : to cut the episode at, if sooner than the environment does
    """

    def __init__(self, env, seed: int, discretizer, preprocess_fn, device, max_context_transitions: int | None,
                 prefix_context: bool = True, max_steps: int | None = None):
        self.env = env
        self.seed = seed
        self.discretizer = discretizer
        self.preprocess_fn = preprocess_fn
        self.device = device
        self.max_context_transitions = max_context_transitions
        self.prefix_context = prefix_context
        self.max_steps = max_steps or env.max_episode_steps
        self.generator = torch.Generator(device).manual_seed(seed)
        first, _ = env.reset(seed=seed)
        self.observation = preprocess_fn(first)
        self.observations = [first]
        self.states = [env.state_vector()]
        self.context = []
        self.plan = None            # [ H x D ], its remaining transitions as numbers
        self.step = 0
        self.total_reward = 0.0
        self.stop_tokens = 0
        self.terminated = False
        self.over = False

    def prefix(self) -> Tensor:
        """[ T ]  the tokens to plan from."""
        return make_prefix(self.discretizer, self.context, self.observation, self.prefix_context)[0].to(self.device)

    def take(self, sequence: Tensor) -> None:
        """Follow a new plan.    sequence : [ H x D ]  tokens"""
        self.stop_tokens += int((sequence == self.discretizer.N).sum())
        self.plan = self.discretizer.reconstruct(sequence)

    def act(self, action: np.ndarray) -> None:
        """One step in the environment; the plan is one transition shorter after it."""
        observation, reward, self.terminated, truncated, _ = self.env.step(action)
        self.context = update_context(self.context, self.discretizer, self.observation, action, reward,
                                      self.max_context_transitions)
        self.observation = self.preprocess_fn(observation)
        self.observations.append(observation)
        self.states.append(self.env.state_vector())
        self.plan = self.plan[1:]
        self.step += 1
        self.total_reward += float(reward)
        self.over = self.terminated or truncated or self.step >= self.max_steps

    def summary(self) -> dict:
        """What `rollout.json` says of the episode; `score` is a fraction, 1 as good as D4RL's expert."""
        return {
            'score': self.env.get_normalized_score(self.total_reward),
            'return': self.total_reward,
            'step': self.step,
            'term': bool(self.terminated),
            'seed': self.seed,
            'environment': self.env.id,
            'physics': self.env.physics,
            'stop_tokens': self.stop_tokens,
        }
