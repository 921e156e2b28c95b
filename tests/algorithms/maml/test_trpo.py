"""Conjugate gradient, the length of a step, the line search."""

import pytest
import torch

from trajectory.algorithms.maml.trpo import conjugate_gradient, line_search, step_size


@pytest.mark.parametrize(('n', 'residual'), [(5, 1e-12), (10, 1e-6)])
def test_a_small_system_is_solved(n, residual):
    generator = torch.Generator().manual_seed(n)
    root = torch.randn(n, n, generator=generator, dtype=torch.float64)
    matrix = root @ root.T + torch.eye(n)
    b = torch.randn(n, generator=generator, dtype=torch.float64)
    x, image = conjugate_gradient(lambda v: matrix @ v, b)
    assert (matrix @ x - b).norm() < residual
    assert torch.allclose(image, matrix @ x, atol=1e-9)
    assert step_size(x, image, 0.02).shs == pytest.approx(0.5 * float(x @ matrix @ x))


def test_it_stops_where_the_residual_is_small():
    calls = []
    x, _ = conjugate_gradient(lambda v: calls.append(1) or 2 * v, torch.tensor([1e-3, 0.0]))
    assert len(calls) == 1
    assert x[0].item() == pytest.approx(5e-4)
    conjugate_gradient(lambda v: calls.append(1) or v, torch.full((2,), 1e-6))
    assert len(calls) == 1


def test_the_step_reaches_the_divergence():
    x, image = torch.tensor([3.0, 0.0]), torch.tensor([6.0, 0.0])
    step = x / step_size(x, image, 0.01).lagrange_multiplier
    assert 0.5 * 2 * float(step @ step) == pytest.approx(0.01)


def test_the_first_step_that_improves_within_the_region_is_taken():
    start, step = torch.tensor([1.0]), torch.tensor([2.0])
    tried = []

    def evaluate(theta):
        tried.append(theta.item())
        return float((theta - 0.3) ** 2), float((theta - start) ** 2)

    theta, search = line_search(evaluate, start, step, 0.49, max_kl=1.0)
    assert search.accepted == len(search.tries) - 1 == 4  # 2 x 0.8^4 = 0.82 is the first shorter than 1
    assert theta.item() == pytest.approx(1 - 2 * 0.8**4)
    assert tried == pytest.approx([1 - 2 * 0.8**j for j in range(5)], abs=1e-6)


@pytest.mark.parametrize('result', [(1.0, 0.0), (0.0, 1.0), (float('nan'), 0.0)])
def test_a_refused_step_returns_the_same_bits(result):
    start = torch.randn(7)
    theta, search = line_search(lambda _: result, start, torch.ones(7), 0.5, max_kl=0.1, max_steps=3)
    assert torch.equal(theta, start)
    assert search.accepted is None
    assert len(search.tries) == 3
