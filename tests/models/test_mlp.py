"""Plain networks of linear layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trajectory.models.mlp import MLP, FlattenMLP, flatten, get_activation


def test_an_mlp_is_its_layers_one_after_another():
    torch.manual_seed(0)
    mlp = MLP(3, [8, 6], 2, activation='Tanh', output_activation='Sigmoid')
    first, second, last = (layer for layer in mlp.modules() if isinstance(layer, nn.Linear))
    x = torch.randn(4, 5, 3)
    torch.testing.assert_close(mlp(x), last(second(first(x).tanh()).tanh()).sigmoid())
    assert mlp.output_dim == 2
    assert mlp.num_parameters == (3 + 1) * 8 + (8 + 1) * 6 + (6 + 1) * 2


def test_without_hidden_layers_it_is_linear():
    torch.manual_seed(0)
    mlp = MLP(3, [], 2)
    layer = next(layer for layer in mlp.modules() if isinstance(layer, nn.Linear))
    x = torch.randn(4, 3)
    torch.testing.assert_close(mlp(x), layer(x))


def test_several_inputs_are_joined():
    torch.manual_seed(0)
    mlp = FlattenMLP(5, [8], 1)
    state, action = torch.randn(4, 3), torch.randn(4, 2)
    torch.testing.assert_close(mlp(state, action), MLP.forward(mlp, torch.cat([state, action], dim=-1)))


def test_conditions_are_joined_in_the_order_of_their_names():
    joined = flatten({'b': torch.ones(2, 1), 'a': torch.zeros(2, 2)})
    torch.testing.assert_close(joined, torch.tensor([[0.0, 0, 1], [0, 0, 1]]))


def test_activations_are_named_with_or_without_settings():
    x = torch.linspace(-2, 2, 9)
    torch.testing.assert_close(get_activation('GELU')()(x), F.gelu(x))
    leaky = get_activation({'type': 'LeakyReLU', 'kwargs': {'negative_slope': 0.3}})()
    torch.testing.assert_close(leaky(x), F.leaky_relu(x, 0.3))
    torch.testing.assert_close(
        MLP(3, [4], 1, activation={'type': 'ELU', 'kwargs': {}})(torch.zeros(2, 3)).shape, torch.Size([2, 1])
    )


@pytest.mark.parametrize('name', ['Gelu', None, ''])
def test_an_activation_that_torch_has_not_is_named(name):
    with pytest.raises(ValueError, match=f"torch.nn has no layer '{name}'; expected a name such as GELU"):
        get_activation(name)
