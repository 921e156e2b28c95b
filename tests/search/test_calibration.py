"""Predictions of a model against what happened: what is measured, by the long way round."""

from pathlib import Path

import numpy as np
import pytest
import torch

from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel
from trajectory.datasets import find_source
from trajectory.search import calibration as measure
from trajectory.utils.errors import InputError

RUN = Path(__file__).parents[2] / 'data/hopper-mixed-ppo/gpt/bundled'


@pytest.fixture(scope='module')
def trained():
    return TrainedModel.from_run(RUN)


@pytest.fixture(scope='module')
def dataset(trained):
    return trained.data(env=find_source('hopper-mixed-ppo'), device='cpu')


@pytest.fixture(scope='module')
def windows(trained, dataset):
    return measure.gather_windows(dataset, trained.discretizer, trained.model, torch.arange(len(dataset)), 30, 0)


def test_windows_are_of_one_episode_and_recorded_q_is_its_discounted_return(trained, dataset, windows):
    layout, discount = dataset.layout, trained.discount
    q = measure.recorded_q(layout, windows, discount)
    for raw, value in zip(windows.raw, q, strict=True):
        (row,) = np.flatnonzero((dataset.joined_raw == raw[-1]).all(axis=1))
        np.testing.assert_array_equal(dataset.joined_raw[row - len(raw) + 1 : row + 1], raw)
        end = next(e for e in np.cumsum(dataset.path_lengths) if e > row)
        rewards = dataset.joined_raw[row:end, layout.reward]
        assert value == pytest.approx((rewards * discount ** np.arange(len(rewards))).sum(), rel=1e-6)


def mean_values(discretizer):
    return lambda probs: discretizer.value_fn(probs, 'mean')


def test_q_is_what_the_planner_reads_token_by_token(trained, windows):
    model, discretizer, discount = trained.model, trained.discretizer, trained.discount
    found = measure.predict_q(model, mean_values(discretizer), windows, discount)
    for tokens, q in zip(windows.tokens[:5], found, strict=False):
        prefix = tokens.flatten()[None, :-2]
        distributions = []
        for _ in range(2):
            with torch.no_grad():
                probs = model(prefix)[0][:, -1].softmax(-1)
            distributions.append(probs)
            prefix = torch.cat([prefix, probs.argmax(-1, keepdim=True)], dim=1)[:, -model.get_block_size() :]
        reward, value = discretizer.value_fn(torch.stack(distributions, 1), 'mean')
        assert q == pytest.approx((reward + discount * value).item(), rel=1e-5)


def test_drawn_actions_differ_and_equal_seeds_draw_the_same(trained, windows):
    arguments = trained.model, mean_values(trained.discretizer), windows, trained.discount, 8
    first, again, other = (measure.predict_q(*arguments, seed) for seed in (1, 1, 2))
    assert first.shape == (30, 8)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first.std(axis=1) > 0).any()


def test_losses_of_columns_average_to_the_models_loss(trained, windows):
    losses, stops = measure.column_losses(trained.model, windows)
    rows = windows.tokens.flatten(1)
    with torch.no_grad():
        logits = trained.model(rows[:, :-1])[0]
    whole = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).item()
    n = np.bincount(np.arange(1, rows.shape[1]) % len(losses), minlength=len(losses))
    assert (losses * n).sum() / n.sum() == pytest.approx(whole, rel=1e-4)
    assert 0 <= stops < 0.1


def test_too_short_episodes_are_refused(trained, dataset):
    short = torch.as_tensor(np.flatnonzero(dataset.indices[:, 1] == dataset.path_lengths[dataset.indices[:, 0]] - 2))
    with pytest.raises(InputError, match='as long as a window of 3 transitions'):
        measure.gather_windows(dataset, trained.discretizer, trained.model, short, 5, 0)
