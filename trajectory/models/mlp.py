"""Stack linear layers: the plain networks beside the transformer, such as a Q-function."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def get_activation(params) -> Callable[[], nn.Module]:
    """The maker of a layer of `torch.nn`.    params : its name, or {'type': name, 'kwargs': {…}}"""
    name, kwargs = (params['type'], params['kwargs']) if isinstance(params, dict) else (params, {})
    layer = getattr(nn, str(name), None)
    if layer is None:
        raise ValueError(f"torch.nn has no layer '{name}'; expected a name such as GELU, ReLU or Identity")
    return lambda: layer(**kwargs)


def flatten(condition_dict: dict[str, Tensor]) -> Tensor:
    """Join tensors along their last axis, in the order of their names."""
    return torch.cat([condition_dict[name] for name in sorted(condition_dict)], dim=-1)


class MLP(nn.Module):
    """Linear layers with activations between them.    x : [ … x input_dim ]    returns : [ … x output_dim ]"""

    def __init__(
        self,
        input_dim: int,
        hidden_dims,
        output_dim: int,
        activation='GELU',
        output_activation='Identity',
        name: str = 'mlp',
    ):
        super().__init__()
        self.name = name
        self.output_dim = output_dim
        activation, output_activation = get_activation(activation), get_activation(output_activation)
        layers = []
        for width_in, width_out in zip([input_dim, *hidden_dims], hidden_dims, strict=False):
            layers += [nn.Linear(width_in, width_out), activation()]
        layers += [nn.Linear([input_dim, *hidden_dims][-1], output_dim), output_activation()]
        self._layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self._layers(x)

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


class FlattenMLP(MLP):
    """An MLP of several inputs, joined along their last axis."""

    def forward(self, *args: Tensor) -> Tensor:
        return super().forward(torch.cat(args, dim=-1))
