"""The interface of a policy: it acts in several environments side by side."""

from abc import ABC, abstractmethod

import numpy as np


class Agent(ABC):
    """Acts in E environments at once; what happens in one does not change what it does in another.

    action_repeat : environment steps that each action is taken for
    """

    action_repeat: int = 1

    @abstractmethod
    def reset(self, observations: np.ndarray, seeds: list[int], goals: np.ndarray | None = None) -> None:
        """Begin E episodes.

        observations : [ E x observation_dim ]  the first ones
        seeds        : E seeds, of all that the agent draws in each episode
        goals        : [ E x observation_dim ]  what is observed at the goal, in environments that have one
        """

    @abstractmethod
    def act(self, observations: np.ndarray) -> np.ndarray:
        """Choose actions.    observations : [ E x observation_dim ]    returns : [ E x action_dim ]

        Rows of episodes that are over may hold anything.
        """

    def observe(self, actions: np.ndarray, rewards: np.ndarray, observations: np.ndarray, over: np.ndarray) -> None:
        """Learn what the actions led to.

        actions      : [ E x action_dim ]
        rewards      : [ E ]  of the first step of each action
        observations : [ E x observation_dim ]  the next ones
        over         : [ E ]  which episodes have ended; they stay in their rows
        """

    def summary(self, episode: int) -> dict:
        """What `rollout.json` records of an episode beside its return.    episode : its row"""
        return {}
