"""Tokens against the reference's, and the mended percentile and small-data cases."""

import numpy as np
import pytest
import torch

from tests.support import golden
from trajectory.datasets.discretization import (
    QuantileDiscretizer,
    UniformDiscretizer,
    largest_nonzero_index,
    load_discretizer,
    make_discretizer,
)
from trajectory.utils.errors import InputError


@pytest.fixture(scope='module')
def reference():
    arrays = golden('discretizer')
    return arrays, QuantileDiscretizer(arrays['data'], arrays['config']['N'])


def test_edges_tokens_and_values_are_the_references(reference):
    arrays, discretizer = reference
    np.testing.assert_allclose(discretizer.thresholds, arrays['thresholds'], atol=1e-9, rtol=0)
    np.testing.assert_array_equal(discretizer.discretize(arrays['x']), arrays['indices'])
    np.testing.assert_allclose(discretizer.reconstruct(arrays['indices']), arrays['reconstruction'], atol=1e-9)
    indices, reconstruction, error = discretizer(arrays['x'])
    np.testing.assert_array_equal(indices, arrays['indices'])
    np.testing.assert_allclose(reconstruction, arrays['reconstruction'], atol=1e-9)
    np.testing.assert_allclose(error, np.abs(arrays['x'] - arrays['reconstruction']).max(axis=0), atol=1e-9)
    np.testing.assert_allclose(
        discretizer.reconstruct(arrays['random_indices']), arrays['random_reconstruction'], atol=1e-9
    )
    start, end = arrays['subslice']
    np.testing.assert_array_equal(
        discretizer.discretize(arrays['x'][:, start:end], (start, end)), arrays['indices_subslice']
    )


def test_tokens_are_the_last_edge_not_above_the_value(reference):
    arrays, discretizer = reference
    slow = largest_nonzero_index(arrays['x'][None] >= discretizer.thresholds[:, None], dim=0)
    np.testing.assert_array_equal(discretizer.discretize(arrays['x']), slow.clip(0, discretizer.N - 1))


@pytest.mark.parametrize('as_probs', [np.asarray, torch.as_tensor], ids=['numpy', 'torch'])
def test_expected_reward_and_value_are_the_references(reference, as_probs):
    arrays, discretizer = reference
    rewards, values = discretizer.value_fn(as_probs(arrays['probs']), 'mean')
    np.testing.assert_allclose(rewards, arrays['expected_reward'], atol=1e-9, rtol=0)
    np.testing.assert_allclose(values, arrays['expected_value'], atol=1e-9, rtol=0)


def test_with_repeats_a_token_stands_for_the_value_that_the_data_repeats():
    """Actions cut off at their limits, a sparse reward, and a column in which nothing repeats."""
    rng = np.random.default_rng(0)
    data = np.stack([rng.normal(size=5000).clip(-1, 1), rng.random(5000) < 0.2, rng.normal(size=5000)], axis=1)
    middle = QuantileDiscretizer(data, 20)
    repeated = middle.with_repeats()
    values = np.array([[-1.0, 0.0, 0.3], [1.0, 1.0, -2.0]])
    tokens = middle.discretize(values)
    np.testing.assert_array_equal(repeated.discretize(values), tokens)
    assert middle.reconstruct(tokens)[0, 0] > -0.99
    assert middle.reconstruct(tokens)[0, 1] == 0.5
    np.testing.assert_array_equal(repeated.reconstruct(tokens)[:, :2], values[:, :2])
    np.testing.assert_array_equal(repeated.reconstruct(tokens)[:, 2], middle.reconstruct(tokens)[:, 2])
    np.testing.assert_array_equal(repeated.token_values(2), middle.token_values(2))


def test_with_repeats_the_expected_value_is_that_of_the_data():
    rewards = np.zeros(1000)
    rewards[:50] = 1
    data = np.stack([rewards, rewards], axis=1)
    middle = QuantileDiscretizer(data, 20)
    shares = np.bincount(middle.discretize(data)[:, 0], minlength=21) / len(data)
    probs = torch.tensor(np.stack([shares, shares])[None])
    assert middle.value_fn(probs, 'mean')[0].item() == pytest.approx(0.525)
    assert middle.with_repeats().value_fn(probs, 'mean')[0].item() == pytest.approx(0.05)
    assert middle.with_repeats().value_fn(probs, 0.5)[0].item() == 0


def test_the_last_nonzero_index_of_nothing_is_minus_one():
    x = np.array([[True, False, False], [True, True, False]])
    np.testing.assert_array_equal(largest_nonzero_index(x, dim=1), [0, 1])
    np.testing.assert_array_equal(largest_nonzero_index(x, dim=0), [1, 1, -1])


@pytest.mark.parametrize('as_probs', [np.asarray, torch.as_tensor], ids=['numpy', 'torch'])
def test_percentile_of_a_point_mass_is_its_bin(as_probs):
    discretizer = QuantileDiscretizer(np.random.default_rng(0).normal(size=(500, 4)), 10)
    middles = (discretizer.thresholds[1:] + discretizer.thresholds[:-1]) / 2
    probs = np.zeros((10, 2, 11))
    probs[np.arange(10), :, np.arange(10)] = 0.25  # the stop token has the rest, and no say
    probs[:, :, 10] = 0.75
    for percentile in (0.0, 0.3, 0.999, '0.5', 1.0):
        rewards, values = discretizer.value_fn(as_probs(probs), percentile)
        np.testing.assert_allclose(rewards[:-1], middles[:-1, -2])
        np.testing.assert_allclose(values[-1], middles[-1, -1])


def test_percentile_is_the_least_bin_above_it():
    discretizer = QuantileDiscretizer.from_thresholds(np.arange(5.0)[:, None])
    probs = np.array([[0.1, 0.2, 0.3, 0.4]])
    for percentile, middle in ((0.05, 0.5), (0.1, 1.5), (0.25, 1.5), (0.59, 2.5), (0.7, 3.5)):
        assert discretizer.percentile(probs, percentile, 0) == middle


@pytest.mark.parametrize('n_steps', [1, 2, 9, 99, 101, 130, 150, 199, 1000, 1049])
def test_there_are_always_n_bins_and_every_step_fits_one(n_steps):
    data = np.random.default_rng(n_steps).normal(size=(n_steps, 3))
    discretizer = QuantileDiscretizer(data, 100)
    assert discretizer.thresholds.shape == (101, 3)
    assert (np.diff(discretizer.thresholds, axis=0) >= 0).all()
    tokens = discretizer.discretize(data)
    assert tokens.min() >= 0
    assert tokens.max() < 100
    reference_edges = np.sort(data, axis=0)[:: int(np.ceil(n_steps / 100))]
    if len(reference_edges) == 100:
        np.testing.assert_array_equal(discretizer.thresholds[:-1], reference_edges)


def test_reconstruction_is_the_identity_on_tokens():
    discretizer = QuantileDiscretizer(np.random.default_rng(0).normal(size=(997, 3)), 20)
    tokens = np.random.default_rng(1).integers(0, 20, size=(50, 3))
    np.testing.assert_array_equal(discretizer.discretize(discretizer.reconstruct(tokens)), tokens)


def test_a_constant_column_is_the_last_bin():
    discretizer = QuantileDiscretizer(np.ones((50, 1)), 5)
    assert discretizer.discretize(np.ones(1)).tolist() == [[4]]
    assert discretizer.reconstruct(np.array([4])) == 1


def test_a_stop_token_reads_as_the_last_bin():
    discretizer = QuantileDiscretizer(np.arange(100.0)[:, None], 10)
    assert discretizer.reconstruct(np.array([10])) == discretizer.reconstruct(np.array([9]))


def test_uniform_bins_have_one_width():
    data = np.random.default_rng(0).exponential(size=(300, 2))
    edges = UniformDiscretizer(data, 7).thresholds
    np.testing.assert_allclose(np.diff(edges, axis=0), np.broadcast_to((data.max(0) - data.min(0)) / 7, (7, 2)))


def test_saved_edges_make_the_same_discretizer(reference):
    arrays, discretizer = reference
    again = QuantileDiscretizer.from_thresholds(discretizer.thresholds)
    assert again.N == discretizer.N
    np.testing.assert_array_equal(again.discretize(arrays['x']), arrays['indices'])


def test_what_cannot_be_binned_is_refused(reference):
    with pytest.raises(InputError, match='at least 1 bin, got N = 0'):
        QuantileDiscretizer(np.ones((3, 2)), 0)
    with pytest.raises(InputError, match='holds no steps'):
        QuantileDiscretizer(np.ones((0, 2)), 5)
    with pytest.raises(InputError, match='QuantileDiscretizer, UniformDiscretizer'):
        make_discretizer('Quantile', np.ones((3, 2)), 5)
    with pytest.raises(ValueError, match='expected values of 7 columns, got 3'):
        reference[1].discretize(np.ones(3))


def test_a_discretizer_survives_its_file_and_a_damaged_file_is_named(reference, tmp_path):
    _, discretizer = reference
    path = tmp_path / 'discretizer.npz'
    discretizer.save(path)
    np.testing.assert_array_equal(load_discretizer(path).thresholds, discretizer.thresholds)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r'discretizer\.npz cannot be read as a discretizer'):
        load_discretizer(path)
    with pytest.raises(InputError, match='is not there'):
        load_discretizer(tmp_path / 'absent.npz')
