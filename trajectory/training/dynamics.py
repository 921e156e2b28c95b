"""Fit a one-step dynamics model by maximum likelihood, until what is held out gets no likelier."""

import copy

import torch
from torch import Tensor

from trajectory.models.dynamics import DynamicsEnsemble
from trajectory.utils.errors import InputError
from trajectory.utils.progress import Progress, Silent

BOUND_WEIGHT = 0.01  # of the distance between the bounds of the log-variances


def fit_dynamics(
    model: DynamicsEnsemble, inputs: Tensor, changes: Tensor, *, held_out: float = 0.1, n_epochs: int = 100,
    patience: int = 5, batch_size: int = 256, learning_rate: float = 1e-3, seed: int = 0, verbose: bool = False,
) -> list[float]:  # fmt: skip
    """Fit every member to transitions of its own, drawn with replacement; then keep the weights of the best epoch.

    inputs   : [ n x d + a ]  observations and actions
    changes  : [ n x d ]  of the observation, in one step
    held_out : share of the transitions that chooses the epoch, and the members that predict (elites)
    patience : epochs without a better held-out loss, after which it ends
    returns  : the elites' mean held-out loss of each epoch
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(inputs), generator=generator)
    n_held_out = max(1, round(held_out * len(inputs)))
    if n_held_out >= len(inputs):
        raise InputError(f'{len(inputs)} transitions are too few to fit a dynamics model.\n  Take more data.')
    kept, apart = order[n_held_out:], order[:n_held_out]
    model.normalize_by(inputs[kept], changes[kept])
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    n_members = model.mlps.n_members
    best, best_state, losses, since = float('inf'), None, [], 0
    with (Progress if verbose else Silent)(n_epochs, name='dynamics') as progress:
        for _ in range(n_epochs):
            rows = kept[torch.randint(len(kept), (n_members, len(kept)), generator=generator)]
            for batch in rows.split(batch_size, dim=1):
                loss = model.loss(inputs[batch], changes[batch]).sum()
                loss = loss + BOUND_WEIGHT * (model.max_log_var - model.min_log_var).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            each = _held_out_loss(model, inputs[apart], changes[apart])
            elites = each.argsort()[: model.n_elites]
            losses.append(each[elites].mean().item())
            if losses[-1] < best - 1e-3 * abs(best if best_state else 1):
                best, since = losses[-1], 0
                model.elites.copy_(elites)
                best_state = copy.deepcopy(model.state_dict())
            else:
                since += 1
            progress.update({'held_out': losses[-1]})
            if since >= patience:
                break
    if best_state is None:
        raise InputError('the loss of the dynamics model is not a number.\n  Pass a smaller learning rate.')
    model.load_state_dict(best_state)
    return losses


@torch.no_grad()
def _held_out_loss(model, inputs, changes):
    parts = [
        len(batch) * model.loss(batch, change)
        for batch, change in zip(inputs.split(4096), changes.split(4096), strict=True)
    ]
    return torch.stack(parts).sum(0) / len(inputs)
