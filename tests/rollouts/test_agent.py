"""What an agent may leave out, and what it may not."""

import numpy as np
import pytest

from trajectory.rollouts.agent import Agent


class Still(Agent):
    def reset(self, observations, seeds, goals=None):
        pass

    def act(self, observations):
        return np.zeros((len(observations), 1))


def test_an_agent_may_ignore_what_its_actions_led_to():
    agent = Still()
    assert agent.observe(np.zeros((1, 1)), np.zeros(1), np.zeros((1, 2)), np.array([True])) is None
    assert agent.summary(0) == {}
    assert agent.action_repeat == 1


def test_an_agent_acts():
    with pytest.raises(TypeError, match='abstract'):
        Agent()
