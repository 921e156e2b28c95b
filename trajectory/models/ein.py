"""Apply a different linear layer at every position of a transition."""

import math

import torch
from torch import Tensor, nn


class EinLinear(nn.Module):
    """One linear layer per position: layer n reads position n and nothing else.

    x       : [ B x n_models x in_features ]
    returns : [ B x n_models x out_features ]
    """

    # the name `weight` and its shape [ n_models x out_features x in_features ] are in published checkpoints

    def __init__(self, n_models: int, in_features: int, out_features: int, bias: bool):
        super().__init__()
        self.n_models = n_models
        self.in_features = in_features
        self.out_features = out_features
        self.weight = nn.Parameter(torch.empty(n_models, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(n_models, out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self):
        """Start each layer as `nn.Linear` starts: Kaiming-uniform."""
        for weight in self.weight:
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.einsum('noi,bni->bno', self.weight, x)
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return (
            f'n_models={self.n_models}, in_features={self.in_features}, '
            f'out_features={self.out_features}, bias={self.bias is not None}'
        )
