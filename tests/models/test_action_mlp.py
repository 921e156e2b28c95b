"""The MLP beside the Decision Transformer against the original's numbers."""

import numpy as np
import pytest
import torch

from tests.support import golden, state_of
from trajectory.models.action_mlp import ActionMLP


def make(arrays, group):
    """The MLP that some arrays hold the weights of.    group : their names' beginning"""
    weights = state_of(arrays, group)
    matrices = [value for name, value in sorted(weights.items()) if name.endswith('weight')]
    (width, n_in), act_dim = matrices[0].shape, matrices[-1].shape[0]
    n_steps = arrays['config']['K']
    model = ActionMLP(n_in // n_steps, act_dim, n_steps, width, len(matrices) - 1, dropout=0.0)
    model.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return model.eval()


def test_actions_are_the_originals():
    arrays = golden('decision/bc')
    model = make(arrays, 'initial')
    with torch.no_grad():
        actions = model(torch.tensor(arrays['states'])).actions
    np.testing.assert_allclose(actions, arrays['action_preds'], atol=1e-6)


@pytest.mark.parametrize('number', range(3))
def test_zeros_stand_for_missing_states(number):
    arrays = golden('decision/bc')
    model = make(arrays, 'initial')
    states = torch.tensor(arrays[f'history{number}/states'])[None, -model.n_steps :]
    with torch.no_grad():
        action = model(states).actions[0, -1]
    np.testing.assert_allclose(action, arrays[f'history{number}/action'], atol=1e-6)


def test_dropout_is_after_every_hidden_layer():
    model = ActionMLP(3, 2, 4, 8, 3, dropout=0.25)
    assert [layer.p for layer in model.model if isinstance(layer, torch.nn.Dropout)] == 3 * [0.25]
