"""Predictions along recorded actions: token by token as the model alone would make them, and by a one-step model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.models.test_transformers import TINY
from tests.support import make_gpt
from trajectory.datasets.discretization import UniformDiscretizer
from trajectory.search.prediction import (
    Segments,
    gather_segments,
    predict_by_steps,
    predict_by_tokens,
    prediction_errors,
)
from trajectory.utils.errors import InputError


@pytest.fixture(scope='module')
def parts():
    torch.manual_seed(3)
    model = make_gpt(TINY)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(90, model.layout.dim))
    return model, UniformDiscretizer(raw, model.vocab_size), raw


def test_segments_lie_within_episodes_that_were_asked_for(parts):
    _, _, raw = parts
    dataset = SimpleNamespace(path_lengths=np.array([30, 8, 52]), joined_raw=raw)
    segments = gather_segments(dataset, np.array([1, 2]), 100, n_context=2, n_steps=6, seed=0)
    assert segments.raw.shape == (52 - 8, 9, raw.shape[1])  # every place of the third episode: the second is too short
    rows = {row.tobytes(): number for number, row in enumerate(raw)}
    for segment in segments.raw:
        numbers = [rows[row.tobytes()] for row in segment]
        assert numbers == list(range(numbers[0], numbers[0] + 9))
        assert numbers[0] >= 38
    with pytest.raises(InputError, match='the longest has 8'):
        gather_segments(dataset, np.array([1]), 100, n_context=2, n_steps=6, seed=0)


def test_tokens_are_those_of_the_uncached_model_given_the_recorded_actions(parts):
    """Twice as many steps as the model's window holds, so that it is cropped."""
    model, discretizer, raw = parts
    layout, limit = model.layout, model.get_block_size()
    segments = Segments(np.stack([raw[:13], raw[20:33]]), n_context=2)
    found = predict_by_tokens(model, discretizer, segments)
    for row, segment in enumerate(segments.raw):
        tokens = discretizer.discretize(segment).flatten()
        sequence = tokens[: 2 * layout.dim + layout.observation_dim].tolist()
        for t in range(segments.n_steps):
            start = (2 + t) * layout.dim + layout.observation_dim
            sequence += tokens[start : start + layout.action_dim].tolist()
            for _ in range(2 + layout.observation_dim):
                n_crop = -(-max(0, len(sequence) - limit) // layout.dim) * layout.dim
                with torch.no_grad():
                    logits = model(torch.tensor([sequence[n_crop:]]))[0][0, -1]
                sequence.append(int(logits.argmax()))
            expected = discretizer.reconstruct(
                np.array(sequence[-layout.observation_dim :]), (0, layout.observation_dim)
            )[0]
            np.testing.assert_allclose(found[row, t], expected)


def test_a_one_step_model_goes_on_from_its_own_predictions(parts):
    model, _, raw = parts
    layout, segments = model.layout, Segments(raw[None, :8], n_context=2)

    def predict(seen, actions):
        return 0.5 * seen + actions.sum(dim=1, keepdim=True)

    found = predict_by_steps(predict, layout, segments)
    seen = raw[2, layout.observation]
    for t in range(5):
        seen = 0.5 * seen + raw[2 + t, layout.action].sum()
        np.testing.assert_allclose(found[0, t], seen, rtol=1e-5)


def test_errors_are_in_deviations_of_each_column(parts):
    model, _, raw = parts
    segments = Segments(raw[None, :4], n_context=1)
    truth = segments.from_start(model.layout.observation)[:, 1:]
    deviations = np.arange(1.0, 1 + truth.shape[-1])
    errors = prediction_errors(truth + 2 * deviations, segments, model.layout, deviations)
    np.testing.assert_allclose(errors, np.full((1, 2), 2.0))
