"""Keep what has happened as tokens, and find the actions in what was imagined."""

import numpy as np
import torch
from torch import Tensor

from trajectory.search.core import VALUE_PLACEHOLDER
from trajectory.utils.layout import TransitionLayout


def make_prefix(discretizer, context: list[Tensor], obs: np.ndarray, prefix_context: bool = True) -> Tensor:
    """The tokens a plan begins with.

    context        : transitions so far, [ 1 x D ] each
    obs            : [ observation_dim ]  the present observation
    prefix_context : False plans from the observation alone
    returns        : [ 1 x T ]
    """
    present = torch.as_tensor(discretizer.discretize(obs, subslice=(0, obs.size)))
    return torch.cat([*context, present], dim=-1) if prefix_context else present


def extract_actions(x: np.ndarray, observation_dim: int, action_dim: int, t: int | None = None) -> np.ndarray:
    """The actions of imagined transitions, all or the t-th.    x : [ H x D ]    returns : [ H x action_dim ]"""
    layout = TransitionLayout(observation_dim, action_dim)
    if x.shape[1] != layout.dim:
        raise ValueError(
            f'expected transitions of {layout.dim} numbers, got {x.shape[1]}; was the model trained on another dataset?'
        )
    actions = x[:, layout.action]
    return actions if t is None else actions[t]


def update_context(
    context: list[Tensor],
    discretizer,
    observation: np.ndarray,
    action: np.ndarray,
    reward: float,
    max_context_transitions: int | None,
) -> list[Tensor]:
    """The context with one more transition, and no more of them than asked for.

    returns : a new list of [ 1 x D ]; the list given stays as it is
    """
    transition = np.concatenate([observation, action, [reward, VALUE_PLACEHOLDER]])
    tokens = torch.as_tensor(discretizer.discretize(transition))
    return [*context, tokens][-max_context_transitions if max_context_transitions else 0 :]
