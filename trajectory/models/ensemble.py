"""MLPs of one shape that are computed together, each with weights of its own: two Q-functions, or a dynamics model."""

from itertools import pairwise

import torch
from torch import Tensor, nn


class MLPEnsemble(nn.Module):
    """M independent MLPs with one activation between their layers.

    n_members             : M
    input_dim, output_dim : numbers that each takes and makes
    hidden_dims           : units of each hidden layer
    activation            : of the hidden layers, a function of tensors

    Weights are `weights.0`, [ M x in x out ], `biases.0`, [ M x 1 x out ], and so on, drawn as `nn.Linear` draws them.
    """

    def __init__(self, n_members: int, input_dim: int, hidden_dims, output_dim: int, activation=torch.relu):
        super().__init__()
        self.n_members, self.input_dim, self.output_dim = n_members, input_dim, output_dim
        self.activation = activation
        widths = [input_dim, *hidden_dims, output_dim]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(widths):
            bound = inputs**-0.5
            self.weights.append(torch.empty(n_members, inputs, outputs).uniform_(-bound, bound))
            self.biases.append(torch.empty(n_members, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """All members.    x : [ B x in ] for each of them, or [ M x B x in ]    returns : [ M x B x out ]"""
        x = x.expand(self.n_members, *x.shape[-2:])
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if number < last:
                x = self.activation(x)
        return x
