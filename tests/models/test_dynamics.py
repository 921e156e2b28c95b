"""A one-step dynamics model: normalized inputs and changes, bounded variances, predictions of the elites."""

import torch

from trajectory.models.dynamics import MIN_STD, DynamicsEnsemble


def make(seed=0, **sizes):
    torch.manual_seed(seed)
    return DynamicsEnsemble(3, 2, **{'n_members': 4, 'n_elites': 2, 'width': 16, 'n_layer': 2, **sizes})


def test_shapes_and_bounds_of_the_variances():
    model = make()
    mean, log_var = model(1e4 * torch.randn(6, 5))
    assert mean.shape == log_var.shape == (4, 6, 3)
    assert (log_var <= 0.5 + 1e-4).all()
    assert (log_var >= -10 - 1e-4).all()


def test_a_constant_column_does_not_divide_by_zero():
    model = make()
    inputs = torch.randn(50, 5)
    inputs[:, 1] = 7.0
    model.normalize_by(inputs, torch.zeros(50, 3))
    assert model.input_std[1] == MIN_STD
    assert torch.isfinite(model.loss(inputs, torch.zeros(50, 3))).all()


def test_the_loss_is_least_at_the_mean_and_the_variance_of_the_errors():
    model = make()
    inputs, changes = torch.zeros(2000, 5), 0.5 * torch.randn(2000, 3) + 1
    with torch.no_grad():
        for weight, bias in zip(model.mlps.weights, model.mlps.biases, strict=True):
            weight.zero_()
            bias.zero_()
        model.max_log_var.fill_(3.0)

        def loss(mean, std):
            model.mlps.biases[-1][:, 0, :3] = mean
            log_var = torch.tensor(2 * std).log()
            model.mlps.biases[-1][:, 0, 3:] = log_var + log_var.new_tensor(0.0)
            return model.loss(inputs, changes)[0].item()

        assert loss(1.0, 0.25) < min(loss(0.5, 0.25), loss(1.5, 0.25), loss(1.0, 2.5))


def test_predictions_are_the_mean_of_the_elites_and_add_the_change():
    model = make()
    model.normalize_by(torch.randn(50, 5) + 1, 3 * torch.randn(50, 3) + 2)
    model.elites.copy_(torch.tensor([3, 1]))
    observations, actions = torch.randn(6, 3), torch.randn(6, 2)
    mean, _ = model(torch.cat([observations, actions], dim=1))
    expected = observations + (mean[3] + mean[1]) / 2 * model.change_std + model.change_mean
    torch.testing.assert_close(model.predict(observations, actions), expected)
