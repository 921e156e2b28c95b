"""Trust-region steps (Schulman et al. 2015): conjugate gradient, the length of the step, and the line search."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int = 10, tolerance: float = 1e-10
) -> tuple[Tensor, Tensor]:
    """Solve H x = b for a symmetric positive definite H by as many iterations; vectors are in 64 bits.

    product    : v [ P ] -> H v
    b          : [ P ]
    tolerance  : of the squared residual r·r, absolute, at which it stops sooner
    returns    : x, and H x = b - r, which the residual r tells without a product more
    """
    x, residual = torch.zeros_like(b, dtype=torch.float64), b.double()
    direction, squared = residual, residual @ residual
    for _ in range(iterations):
        if squared < tolerance:
            break
        image = product(direction)
        step = squared / (direction @ image)
        x = x + step * direction
        residual = residual - step * image
        squared, last = residual @ residual, squared
        direction = residual + squared / last * direction
    return x, b.double() - residual


@dataclass(frozen=True)
class StepSize:
    """How long a step is.    shs : ½ xᵀHx    lagrange_multiplier : sqrt(shs / max_kl)"""

    shs: float
    lagrange_multiplier: float


def step_size(x: Tensor, image: Tensor, max_kl: float) -> StepSize:
    """The length at which a step along x has the divergence max_kl, to second order: x / sqrt(½ xᵀHx / max_kl).

    image : H x
    """
    shs = 0.5 * float(x @ image)
    return StepSize(shs, (shs / max_kl) ** 0.5 if shs > 0 else float('nan'))


@dataclass(frozen=True)
class Search:
    """What a line search tried.    tries : (loss, divergence) of each    accepted : index of the last, or None"""

    tries: list[tuple[float, float]]
    accepted: int | None


def line_search(
    evaluate: Callable[[Tensor], tuple[float, float]],
    parameters: Tensor,
    step: Tensor,
    old_loss: float,
    max_kl: float,
    max_steps: int = 15,
    backtrack_ratio: float = 0.8,
) -> tuple[Tensor, Search]:
    """Take the first of θ - ratio^j · step, j = 0, 1, …, that lowers the loss and stays within the trust region.

    evaluate : θ [ P ] -> (loss, divergence)
    returns  : the new θ, which is the old where none was accepted, and what was tried
    """
    tries = []
    for j in range(max_steps):
        moved = (parameters.double() - backtrack_ratio**j * step).to(parameters.dtype)
        loss, divergence = evaluate(moved)
        tries.append((loss, divergence))
        if loss < old_loss and divergence < max_kl:
            return moved, Search(tries, j)
    return parameters, Search(tries, None)
