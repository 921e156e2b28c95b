"""A policy that is an agent draws by its episodes' seeds."""

import numpy as np
import torch

from trajectory.algorithms.maml.agent import SamplingAgent
from trajectory.models.policies import CategoricalMLPPolicy, NormalMLPPolicy


def test_what_happens_in_one_environment_does_not_change_another():
    agent = SamplingAgent(NormalMLPPolicy(3, 2, (4,)))
    observations = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    agent.reset(observations, [5, 6, 7])
    together = np.stack([agent.act(observations) for _ in range(4)])
    agent.reset(observations[1:2], [6])
    alone = np.stack([agent.act(observations[1:2]) for _ in range(4)])
    assert np.array_equal(together[:, 1:2], alone)
    assert len(np.unique(together[:, 1])) == 8


def test_each_environment_may_have_parameters_of_its_own():
    policy = CategoricalMLPPolicy(1, 3)
    params = {name: value.detach().repeat(2, *(1,) * value.ndim) for name, value in policy.params.items()}
    params['layer1.bias'][0, 1], params['layer1.bias'][1, 2] = 50, 50
    agent = SamplingAgent(policy, params)
    agent.reset(np.zeros((2, 1)), [0, 0])
    assert agent.act(np.zeros((2, 1))).tolist() == [1, 2]
    assert torch.equal(policy.params['layer1.bias'], torch.zeros(3))
