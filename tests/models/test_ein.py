"""One linear layer per position, against as many layers of torch's."""

import pytest
import torch
from torch import nn

from trajectory.models.ein import EinLinear


@pytest.mark.parametrize('bias', [True, False])
def test_ein_linear_equals_one_linear_per_position(bias):
    torch.manual_seed(0)
    heads = [nn.Linear(3, 4, bias=bias) for _ in range(5)]
    fast = EinLinear(5, 3, 4, bias=bias)
    fast.weight.data = torch.stack([head.weight.data for head in heads])
    if bias:
        fast.bias.data = torch.stack([head.bias.data for head in heads])

    x = torch.randn(2, 5, 3)
    slow = torch.stack([head(x[:, n]) for n, head in enumerate(heads)], dim=1)
    torch.testing.assert_close(fast(x), slow)


def test_the_names_and_shapes_are_those_of_published_weights():
    assert {name: list(value.shape) for name, value in EinLinear(5, 3, 4, bias=True).state_dict().items()} == {
        'weight': [5, 4, 3],
        'bias': [5, 4],
    }
    assert list(EinLinear(5, 3, 4, bias=False).state_dict()) == ['weight']


def test_each_layer_starts_as_torchs_linear_starts():
    torch.manual_seed(0)
    layer, heads = EinLinear(50, 64, 32, bias=True), [nn.Linear(64, 32) for _ in range(50)]
    bound = 64**-0.5
    for ours, theirs in (
        (layer.weight, torch.stack([head.weight for head in heads])),
        (layer.bias, torch.stack([head.bias for head in heads])),
    ):
        assert ours.abs().max() <= bound
        torch.testing.assert_close(ours.std(), theirs.std(), rtol=0.05, atol=0)
        torch.testing.assert_close(ours.mean(), torch.zeros(()), rtol=0, atol=0.05 * bound)


def test_a_layer_says_what_it_is():
    assert 'n_models=5, in_features=3, out_features=4, bias=True' in repr(EinLinear(5, 3, 4, bias=True))
