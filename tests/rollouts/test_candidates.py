"""Candidates from one simulator state: what they earn, and how well they were ranked."""

from pathlib import Path

import numpy as np
import pytest
import torch

from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel
from trajectory.environments.spec import EnvironmentSpec
from trajectory.rendering.renderers import set_state
from trajectory.rollouts.candidates import Ranking, _execute, _imagine
from trajectory.search import search
from trajectory.search.settings import SearchSettings

RUN = Path(__file__).parents[2] / 'data/hopper-mixed-ppo/gpt/bundled'


def test_candidates_earn_what_the_simulator_pays():
    spec = EnvironmentSpec('Hopper-v4', 'd4rl')
    env = spec.make()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (3, 2, 3))
    observation, _ = env.reset(seed=3)
    envs = [spec.make() for _ in range(3)]
    found = _execute(envs, observation, actions, None, 0.9, 0)
    for candidate, total in zip(actions, found, strict=True):
        env.reset(seed=5)
        set_state(env, observation)
        rewards = [env.step(action)[1] for action in candidate]
        assert total == pytest.approx(rewards[0] + 0.9 * rewards[1])


@torch.no_grad()
def test_candidates_are_ranked_as_a_beam_ranks_them():
    trained = TrainedModel.from_run(RUN)
    model, discretizer = trained.model, trained.discretizer
    prefix = torch.randint(discretizer.N, (model.layout.observation_dim,), generator=torch.Generator().manual_seed(0))
    settings = SearchSettings(3, 1, 1, discount=0.9)

    def generators():
        return [torch.Generator().manual_seed(k) for k in range(6)]

    plans, predicted = _imagine(
        model, discretizer, [prefix] * 6, settings, generators(), lambda p: discretizer.value_fn(p, 'mean')
    )
    assert plans.shape == (6, 3, model.layout.dim)
    drawn = search(
        model, lambda p: discretizer.value_fn(p, 'mean'), [prefix] * 6, settings, generator=generators(), cached=False
    )
    for tokens, total in zip(drawn.flatten(1)[:, None], predicted, strict=True):
        rewards, dim = [], model.layout.dim
        for t in range(3):
            seen = tokens[:, : (t + 1) * dim - 2]
            probs = [model(seen)[0][:, -1].softmax(-1)]
            probs.append(model(torch.cat([seen, probs[0].argmax(-1, keepdim=True)], 1))[0][:, -1].softmax(-1))
            rewards.append(discretizer.value_fn(torch.stack(probs, 1), 'mean'))
        expected = sum(0.9**t * r for t, (r, _) in enumerate(rewards)) + 0.9**3 * rewards[-1][1]
        assert total == pytest.approx(expected.item(), rel=1e-4)


def test_ranking_reads_gain_regret_and_order():
    predicted, realized = np.array([[1.0, 2, 3, 0], [5, 1, 1, 1]]), np.array([[10.0, 20, 0, 30], [8, 0, 0, 4]])
    ranking = Ranking(5, predicted, realized)
    np.testing.assert_allclose(ranking.gains(4), [0 - 15, 8 - 3])
    np.testing.assert_allclose(ranking.gains(2), [5, 4])
    np.testing.assert_allclose(ranking.regrets, [30, 0])
    assert ranking.correlations[0] == pytest.approx(-0.8)
    assert len(Ranking(1, np.zeros((2, 3)), np.ones((2, 3))).correlations) == 0
