"""Stochastic policies of on-policy methods: MLPs whose output is a distribution of actions, with functional parameters.

Layers are `layer1`, `layer2`, …; weights start Xavier-uniform, biases at 0. Parameters can be given to `forward`: those
that a gradient step led to, say, through which gradients then flow.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal
from torch.func import vmap
from torch.nn.functional import linear

MIN_STD = 1e-6
NONLINEARITIES = {'relu': torch.relu, 'tanh': torch.tanh}

Params = Mapping[str, Tensor]


class Policy(nn.Module):
    """Observations to distributions of actions.

    input_size   : numbers of an observation
    output_size  : numbers of an action, or actions to choose from
    hidden_sizes : units of each hidden layer
    nonlinearity : `relu` or `tanh`
    """

    last_layer: str

    def __init__(
        self, input_size: int, output_size: int, hidden_sizes: tuple[int, ...] = (), nonlinearity: str = 'relu'
    ):
        super().__init__()
        self.input_size, self.output_size = input_size, output_size
        self.nonlinearity = NONLINEARITIES[nonlinearity]
        self.n_hidden = len(hidden_sizes)
        for number, (inputs, outputs) in enumerate(pairwise((input_size, *hidden_sizes)), start=1):
            setattr(self, f'layer{number}', _linear(inputs, outputs))

    @property
    def layers(self) -> list[str]:
        """Names of the linear layers, the first first."""
        return [f'layer{number}' for number in range(1, self.n_hidden + 1)] + [self.last_layer]

    @property
    def params(self) -> dict[str, Tensor]:
        """The module's own parameters, by name."""
        return dict(self.named_parameters())

    def forward(self, observations: Tensor, params: Params | None = None) -> Distribution:
        """The distribution of actions, whose log-probabilities are of a whole action.

        observations : [ ... x input_size ]
        params       : by name, in place of the module's own
        """
        return self.distribution(*self.heads(params or self.params, observations))

    def forward_tasks(self, observations: Tensor, params: Params) -> Distribution:
        """The distributions of actions of M tasks, each with parameters of its own.

        observations : [ M x ... x input_size ]
        params       : [ M x ... ] by name
        """
        return self.distribution(*vmap(self.heads)(dict(params), observations))

    def heads(self, params: Params, observations: Tensor) -> tuple[Tensor, ...]:
        """The numbers that a distribution is made of.    observations : [ ... x input_size ]"""
        features = observations
        for layer in self.layers[:-1]:
            features = self.nonlinearity(linear(features, params[f'{layer}.weight'], params[f'{layer}.bias']))
        outputs = linear(features, params[f'{self.last_layer}.weight'], params[f'{self.last_layer}.bias'])
        return self._heads(params, outputs)

    def _heads(self, params, outputs) -> tuple[Tensor, ...]:  # noqa: ARG002
        return (outputs,)

    @staticmethod
    @abstractmethod
    def distribution(*heads: Tensor) -> Distribution:
        """The distribution that the numbers stand for."""

    def update_params(
        self, loss: Tensor, step_size: float = 0.5, first_order: bool = False, params: Params | None = None
    ) -> dict[str, Tensor]:
        """Parameters after one step of gradient descent, θ' = θ - step_size · ∇loss(θ).

        loss        : of `params`
        first_order : hold the gradient constant, so that dθ'/dθ = 1
        params      : θ; the module's own, if none are given
        """
        params = params or self.params
        gradients = torch.autograd.grad(loss, list(params.values()), create_graph=not first_order)
        return {
            name: value - step_size * gradient
            for (name, value), gradient in zip(params.items(), gradients, strict=True)
        }


class NormalMLPPolicy(Policy):
    """Normal actions: the mean is the MLP's, the standard deviation exp(sigma) depends on no observation.

    `sigma` [ output_size ] starts at log(init_std); below log(1e-6) it is clamped, and has no gradient.
    """

    last_layer = 'mu'

    def __init__(
        self,
        input_size: int,
        output_size: int,
        hidden_sizes: tuple[int, ...] = (),
        nonlinearity: str = 'relu',
        init_std: float = 1.0,
    ):
        super().__init__(input_size, output_size, hidden_sizes, nonlinearity)
        self.mu = _linear((input_size, *hidden_sizes)[-1], output_size)
        self.sigma = nn.Parameter(torch.full((output_size,), math.log(init_std)))

    def _heads(self, params, outputs):
        return outputs, params['sigma'].clamp(min=math.log(MIN_STD)).exp().expand_as(outputs)

    @staticmethod
    def distribution(*heads):
        mean, std = heads
        return Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)


class CategoricalMLPPolicy(Policy):
    """One of `output_size` actions; the last layer gives their logits."""

    def __init__(
        self, input_size: int, output_size: int, hidden_sizes: tuple[int, ...] = (), nonlinearity: str = 'relu'
    ):
        super().__init__(input_size, output_size, hidden_sizes, nonlinearity)
        self.last_layer = f'layer{self.n_hidden + 1}'
        setattr(self, self.last_layer, _linear((input_size, *hidden_sizes)[-1], output_size))

    @staticmethod
    def distribution(*heads):
        return Categorical(logits=heads[0], validate_args=False)


def sample_actions(distribution: Distribution, generator: torch.Generator) -> Tensor:
    """Draw an action from each, by a generator of its own.    returns : [ ... x a ], or [ ... ] whole numbers"""
    if isinstance(distribution, Categorical):
        draws = torch.rand(distribution.logits.shape[:-1], generator=generator).to(distribution.logits)
        cumulative = distribution.probs.cumsum(-1)
        return (cumulative <= draws[..., None] * cumulative[..., -1:]).sum(-1)
    mean = distribution.mean
    noise = torch.randn(mean.shape, generator=generator).to(mean)
    return mean + distribution.stddev * noise


def flatten(params: Params) -> Tensor:
    """All parameters in one vector, [ P ].    params : by name"""
    return torch.cat([value.flatten() for value in params.values()])


def unflatten(vector: Tensor, like: Params) -> dict[str, Tensor]:
    """What `flatten` joined.    vector : [ P ]    like : parameters of the shapes that are wanted"""
    parts = vector.split([value.numel() for value in like.values()])
    return {name: part.view_as(value) for (name, value), part in zip(like.items(), parts, strict=True)}


def _linear(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
