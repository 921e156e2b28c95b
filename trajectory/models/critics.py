"""Networks of actor-critic methods that learn from data: Q-functions, a state value, and a policy."""

import torch
from torch import Tensor, nn

from trajectory.models.ensemble import MLPEnsemble
from trajectory.models.mlp import MLP

MIN_LOG_STD, MAX_LOG_STD = -10.0, 2.0


class QFunctions(MLPEnsemble):
    """Two Q-functions of one shape, of which the lower one counts."""

    def __init__(self, observation_dim: int, action_dim: int, hidden_dims):
        super().__init__(2, observation_dim + action_dim, hidden_dims, 1)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Both.    observations : [ B x d ]    actions : [ B x a ]    returns : [ 2 x B ]"""
        return super().forward(torch.cat([observations, actions], dim=-1))[..., 0]

    def lower(self, observations: Tensor, actions: Tensor) -> Tensor:
        """The lower one of the two, [ B ]."""
        return self(observations, actions).amin(dim=0)


class BoundedGaussianPolicy(nn.Module):
    """Normal distributions of actions whose means lie in a box, with deviations that do not depend on the observation.

    low, high : [ a ]  of the means, buffers
    """

    low: Tensor
    high: Tensor

    def __init__(self, observation_dim: int, action_dim: int, hidden_dims):
        super().__init__()
        self.mlp = MLP(observation_dim, hidden_dims, action_dim, activation='ReLU', output_activation='Tanh')
        self.log_std = nn.Parameter(torch.zeros(action_dim))
        self.register_buffer('low', -torch.ones(action_dim))
        self.register_buffer('high', torch.ones(action_dim))

    def forward(self, observations: Tensor) -> Tensor:
        """Means.    observations : [ B x d ]    returns : [ B x a ]"""
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        return middle + half * self.mlp(observations)

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Log-densities of whole actions.    observations : [ B x d ]    actions : [ B x a ]    returns : [ B ]"""
        deviations = self.log_std.clamp(MIN_LOG_STD, MAX_LOG_STD).exp()
        return torch.distributions.Normal(self(observations), deviations).log_prob(actions).sum(dim=-1)


class ActorCritic(nn.Module):
    """What implicit Q-learning trains (Kostrikov et al. 2021): two Q-functions, slow copies, V, and a policy.

    All take observations as they are, and normalize them by the data's means and deviations, which are buffers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, observation_dim: int, action_dim: int, width: int = 256, n_layer: int = 2):
        super().__init__()
        self.observation_dim, self.action_dim = observation_dim, action_dim
        hidden = n_layer * [width]
        self.q = QFunctions(observation_dim, action_dim, hidden)
        self.target_q = QFunctions(observation_dim, action_dim, hidden)
        self.target_q.load_state_dict(self.q.state_dict())
        self.target_q.requires_grad_(False)
        self.value = MLP(observation_dim, hidden, 1, activation='ReLU')
        self.policy = BoundedGaussianPolicy(observation_dim, action_dim, hidden)
        self.register_buffer('mean', torch.zeros(observation_dim))
        self.register_buffer('std', torch.ones(observation_dim))

    def normalize(self, observations: Tensor) -> Tensor:
        """What the networks take.    observations, returns : [ B x d ]"""
        return (observations - self.mean) / self.std

    def q_of(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Both Q-functions.    observations : [ B x d ], as they are    actions : [ B x a ]    returns : [ 2 x B ]"""
        return self.q(self.normalize(observations), actions)

    def act(self, observations: Tensor) -> Tensor:
        """The policy's mean actions.    observations : [ B x d ], as they are    returns : [ B x a ]"""
        return self.policy(self.normalize(observations))

    @torch.no_grad()
    def move_targets(self, share: float) -> None:
        """Move the slow copies towards the Q-functions by a share of the difference."""
        for slow, fast in zip(self.target_q.parameters(), self.q.parameters(), strict=True):
            slow.lerp_(fast, share)


def expectile_loss(differences: Tensor, expectile: float) -> Tensor:
    """Mean squared error that weighs positive differences by the expectile, and negative ones by the rest to 1."""
    weights = torch.where(differences > 0, expectile, 1 - expectile)
    return (weights * differences**2).mean()
