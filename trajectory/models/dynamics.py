"""A one-step dynamics model: an ensemble of probabilistic MLPs (PETS, Chua et al. 2018)."""

import torch
from torch import Tensor, nn

from trajectory.models.ensemble import MLPEnsemble

MIN_STD = 1e-3  # of a column, in units of its own deviation


class DynamicsEnsemble(nn.Module):
    """Members that each predict a normal distribution of how the observation changes in one step.

    observation_dim, action_dim : columns
    n_members, n_elites         : members, and how many of them predictions are made by: those of lowest held-out loss
    width, n_layer              : units of a hidden layer, with SiLU, and how many of them

    Inputs and changes are normalized by the data's means and deviations, which are buffers, as are the elites' numbers.
    """

    input_mean: Tensor
    input_std: Tensor
    change_mean: Tensor
    change_std: Tensor
    elites: Tensor

    def __init__(self, observation_dim: int, action_dim: int, n_members: int = 7, n_elites: int = 5, width: int = 200,
                 n_layer: int = 4):  # fmt: skip
        super().__init__()
        self.observation_dim, self.action_dim, self.n_elites = observation_dim, action_dim, n_elites
        inputs = observation_dim + action_dim
        self.mlps = MLPEnsemble(n_members, inputs, n_layer * [width], 2 * observation_dim, nn.functional.silu)
        self.min_log_var = nn.Parameter(torch.full((observation_dim,), -10.0))
        self.max_log_var = nn.Parameter(torch.full((observation_dim,), 0.5))
        for name, size in (('input', inputs), ('change', observation_dim)):
            self.register_buffer(f'{name}_mean', torch.zeros(size))
            self.register_buffer(f'{name}_std', torch.ones(size))
        self.register_buffer('elites', torch.arange(n_elites))

    def normalize_by(self, inputs: Tensor, changes: Tensor) -> None:
        """Take means and deviations from the data.    inputs : [ n x d + a ]    changes : [ n x d ]"""
        for name, data in (('input', inputs), ('change', changes)):
            getattr(self, f'{name}_mean').copy_(data.mean(0))
            getattr(self, f'{name}_std').copy_(data.std(0).clamp(min=MIN_STD))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of normalized changes, [ M x B x d ] each.    inputs : [ (M x) B x d + a ]

        Log-variances are bounded softly, by bounds that are learned.
        """
        mean, log_var = self.mlps((inputs - self.input_mean) / self.input_std).chunk(2, dim=-1)
        log_var = self.max_log_var - nn.functional.softplus(self.max_log_var - log_var)
        return mean, self.min_log_var + nn.functional.softplus(log_var - self.min_log_var)

    def loss(self, inputs: Tensor, changes: Tensor) -> Tensor:
        """Negative log-likelihood of each member, less a constant, [ M ].    changes : [ (M x) B x d ], as recorded"""
        mean, log_var = self(inputs)
        errors = mean - (changes - self.change_mean) / self.change_std
        return (errors**2 * (-log_var).exp() + log_var).mean(dim=(1, 2))

    @torch.no_grad()
    def predict(self, observations: Tensor, actions: Tensor) -> Tensor:
        """The next observations, by the mean of the elites.    [ B x d ], [ B x a ]    returns : [ B x d ]"""
        mean, _ = self(torch.cat([observations, actions], dim=-1))
        return observations + mean[self.elites].mean(dim=0) * self.change_std + self.change_mean
