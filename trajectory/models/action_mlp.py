"""The MLP that Decision Transformers are compared with: the last states in, an action out (Chen et al. 2021)."""

import torch
from torch import Tensor, nn

from trajectory.models.decision_transformer import Predictions


class ActionMLP(nn.Module):
    """Linear layers with ReLU and dropout between them and tanh at the end, with the names of the original's weights.

    state_dim, act_dim : columns of states and actions
    n_steps            : K, states that an action is chosen by; where there are fewer, zeros stand before them
    hidden_size        : width of the `n_layer` hidden layers
    max_ep_len         : timesteps that are counted, for an agent; the network is not told them
    """

    def __init__(
        self, state_dim: int, act_dim: int, n_steps: int, hidden_size: int = 128, n_layer: int = 3,
        dropout: float = 0.1, max_ep_len: int = 1000,
    ):  # fmt: skip
        super().__init__()
        self.state_dim, self.act_dim, self.n_steps, self.max_ep_len = state_dim, act_dim, n_steps, max_ep_len
        layers: list[nn.Module] = [nn.Linear(n_steps * state_dim, hidden_size)]
        for _ in range(n_layer - 1):
            layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_size, hidden_size)]
        layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_size, act_dim), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, states: Tensor, *_) -> Predictions:
        """Called as a `DecisionTransformer` is; what follows the states is not looked at.

        states  : [ B x up to K x d ]
        returns : `Predictions` whose actions, [ B x 1 x a ], are those of the last step
        """
        missing = self.n_steps - states.shape[1]
        padded = torch.cat([states.new_zeros(len(states), missing, self.state_dim), states], dim=1)
        none = states.new_zeros(len(states), 0, 0)
        return Predictions(none, self.model(padded.flatten(1))[:, None], none)
