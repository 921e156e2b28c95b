"""An ensemble computes what its members would compute alone."""

import torch
from torch.nn.functional import linear

from trajectory.models.ensemble import MLPEnsemble


def alone(ensemble, member, x):
    for number, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
        x = linear(x, weight[member].T, bias[member, 0])
        x = torch.relu(x) if number < len(ensemble.weights) - 1 else x
    return x


def test_each_member_is_an_mlp_of_its_own():
    torch.manual_seed(0)
    ensemble = MLPEnsemble(3, 4, [8, 5], 2)
    shared, own = torch.randn(6, 4), torch.randn(3, 6, 4)
    assert ensemble(shared).shape == (3, 6, 2)
    for member in range(3):
        torch.testing.assert_close(ensemble(shared)[member], alone(ensemble, member, shared))
        torch.testing.assert_close(ensemble(own)[member], alone(ensemble, member, own[member]))
    assert (ensemble(shared)[0] - ensemble(shared)[1]).abs().min() > 0


def test_weights_start_within_the_bounds_of_a_linear_layer():
    ensemble = MLPEnsemble(2, 100, [400], 1)
    for weight, inputs in zip(ensemble.weights, (100, 400), strict=True):
        assert 0.99 * inputs**-0.5 < weight.abs().max().item() <= inputs**-0.5
