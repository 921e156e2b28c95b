"""Fitting a one-step dynamics model: it finds a known function and its noise, keeps its best epoch, and ends."""

import pytest
import torch

from trajectory.models.dynamics import DynamicsEnsemble
from trajectory.training.dynamics import fit_dynamics
from trajectory.utils.errors import InputError


def transitions(n=3000, noise=0.1):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, 3, generator=generator)
    changes = torch.stack([inputs[:, 0] * inputs[:, 2], inputs[:, 1].sin()], dim=1)
    return inputs, changes + noise * torch.randn(n, 2, generator=generator)


def fitted(**options):
    torch.manual_seed(0)
    model = DynamicsEnsemble(2, 1, n_members=4, n_elites=2, width=32, n_layer=2)
    return model, fit_dynamics(model, *transitions(), batch_size=64, **options)


def test_it_finds_a_function_and_how_noisy_it_is():
    model, losses = fitted(n_epochs=40, learning_rate=3e-3)
    inputs, changes = transitions(noise=0.0)
    found = model.predict(inputs[:, :2], inputs[:, 2:]) - inputs[:, :2]
    assert ((found - changes) ** 2).mean() < 0.01 * changes.var()
    _, log_var = model(inputs)
    deviations = (0.5 * log_var[model.elites].mean(dim=(0, 1))).exp() * model.change_std
    torch.testing.assert_close(deviations, torch.full((2,), 0.1), rtol=0.4, atol=0)
    assert losses[-1] < losses[0]


def test_it_ends_when_nothing_gets_better_and_keeps_the_best_epoch():
    model, losses = fitted(n_epochs=200, learning_rate=3e-2, patience=2)
    assert len(losses) < 200
    assert len(losses) - 1 - losses.index(min(losses)) >= 2 or min(losses[-3:]) > min(losses) - 1e-2
    inputs, changes = transitions()
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[: len(inputs) // 10]
    with torch.no_grad():
        kept = model.loss(inputs[order], changes[order])[model.elites].mean().item()
    assert kept == pytest.approx(min(losses), abs=2e-2)


def test_the_elites_are_the_best_on_what_is_held_out():
    model, _ = fitted(n_epochs=3)
    inputs, changes = transitions()
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[: len(inputs) // 10]
    with torch.no_grad():
        each = model.loss(inputs[order], changes[order])
    assert set(model.elites.tolist()) == set(each.argsort()[:2].tolist())


def test_too_little_data_and_a_loss_that_is_none_are_refused():
    model = DynamicsEnsemble(2, 1, width=8)
    with pytest.raises(InputError, match='1 transitions are too few'):
        fit_dynamics(model, torch.zeros(1, 3), torch.zeros(1, 2))
    with pytest.raises(InputError, match='not a number'):
        fit_dynamics(model, torch.full((50, 3), torch.nan), torch.zeros(50, 2), n_epochs=1)
