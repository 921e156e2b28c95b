"""Twelve updates against the reference's, and the schedule's ends."""

import threading

import numpy as np
import pytest
import torch

from tests.support import golden, make_gpt, state_of
from trajectory.storage.config import Config
from trajectory.training.trainer import Trainer
from trajectory.utils.errors import InputError


class OneBatch:
    """A dataset whose windows are one stored batch."""

    def __init__(self, arrays):
        self.batch = tuple(torch.tensor(arrays[name]) for name in ('X', 'Y', 'mask'))
        self.N = arrays['model_config']['vocab_size']
        self.device = torch.device('cpu')
        self.on_disk = False

    def __len__(self):
        return len(self.batch[0])

    def gather(self, indices):
        return tuple(column[indices] for column in self.batch)

    def count_targets(self, indices):
        return int((self.batch[1][indices] != self.N).sum())


@pytest.fixture
def run():
    arrays = golden('training')
    return arrays, make_gpt(arrays['model_config'], state_of(arrays, 'initial')), OneBatch(arrays)


def trainer_of(arrays, **changes):
    return Trainer(Config(Trainer, verbose=False, **arrays['trainer_config'] | changes))


def test_twelve_updates_are_the_references(run):
    arrays, model, dataset = run
    trainer, rows = trainer_of(arrays), []
    trainer.train(model, dataset, n_epochs=12, on_log=rows.append)
    np.testing.assert_allclose([row['loss'] for row in rows], arrays['loss_before_step'], rtol=1e-5)
    np.testing.assert_allclose([row['learning_rate'] for row in rows], arrays['lr_after_step'], atol=1e-9, rtol=0)
    np.testing.assert_array_equal([row['tokens'] for row in rows], arrays['tokens_after_step'])
    for name, weight in model.state_dict().items():
        atol = 2e-3 if name.endswith('attn.key.bias') else 1e-4  # its true gradient is 0: Adam follows rounding noise
        np.testing.assert_allclose(weight, arrays[f'final/{name}'], atol=atol, rtol=0, err_msg=name)


def test_without_decay_the_rate_stays(run):
    arrays, model, dataset = run
    trainer, rows = trainer_of(arrays, lr_decay=False), []
    trainer.train(model, dataset, n_epochs=2, on_log=rows.append)
    assert [row['learning_rate'] for row in rows] == [arrays['trainer_config']['learning_rate']] * 2


def test_the_cosine_rises_again_after_its_end():
    trainer = Trainer(
        Config(
            Trainer, verbose=False, learning_rate=1.0, lr_decay=True, warmup_tokens=10, final_tokens=110, device='cpu'
        )
    )
    rates = []
    for trainer.n_tokens in (5, 10, 60, 110, 210):
        rates.append(trainer.learning_rate())
    assert rates == pytest.approx([0.5, 1.0, 0.5, 0.1, 1.0])


def test_the_same_seed_gives_the_same_weights_and_another_does_not(run):
    arrays, _, dataset = run
    weights = []
    for seed in (1, 1, 2):
        model = make_gpt(arrays['model_config'], state_of(arrays, 'initial'))
        trainer_of(arrays, batch_size=4, seed=seed).train(model, dataset)
        weights.append(model.pos_emb.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_infinite_loss_stops_the_run(run):
    arrays, model, dataset = run
    model.pos_emb.data[:] = float('nan')
    with pytest.raises(InputError, match='the loss became nan at update 1'):
        trainer_of(arrays).train(model, dataset)


def test_every_window_is_seen_once_an_epoch(run):
    arrays, model, dataset = run
    seen = []
    dataset.gather = lambda indices: (seen.append(indices), OneBatch.gather(dataset, indices))[1]
    trainer_of(arrays, batch_size=5).train(model, dataset)
    assert sorted(torch.cat(seen).tolist()) == list(range(16))
    assert len(seen) == 4


def test_what_is_read_beside_the_step_is_what_would_be_read_for_it(run):
    arrays, _, dataset = run
    weights, readers = [], set()
    dataset.gather = lambda indices: (readers.add(threading.get_ident()), OneBatch.gather(dataset, indices))[1]
    for dataset.on_disk in (False, True):
        model = make_gpt(arrays['model_config'], state_of(arrays, 'initial'))
        trainer = trainer_of(arrays, batch_size=5)
        trainer.train(model, dataset, n_epochs=2)
        weights.append([*model.parameters(), trainer.evaluate(model, dataset, torch.arange(12))['loss']])
        assert (readers == {threading.get_ident()}) is not dataset.on_disk
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*weights, strict=True))


def test_the_parts_make_up_the_loss(run):
    arrays, model, dataset = run
    trainer, rows = trainer_of(arrays), []
    trainer.train(model, dataset, on_log=rows.append)
    layout, weights = model.layout, model.token_weights(arrays['Y'].shape[1], 'cpu')
    columns = torch.arange(1, len(weights) + 1) % layout.dim
    kinds = {
        'observation': columns < layout.observation_dim,
        'reward': columns == layout.reward,
        'value': columns == layout.value,
    }
    kinds['action'] = ~(kinds['observation'] | kinds['reward'] | kinds['value'])
    total = sum(rows[0][f'loss_{kind}'] * float((weights * of_kind).sum()) for kind, of_kind in kinds.items())
    assert total / len(weights) == pytest.approx(rows[0]['loss'], rel=1e-5)
    held_out = trainer_of(arrays).evaluate(model, dataset, torch.arange(16))
    assert held_out['loss'] < rows[0]['loss']
    assert held_out.keys() == {'loss', *(f'loss_{kind}' for kind in kinds)}


def test_sixteen_bits_learn_nearly_the_same(run):
    arrays, model, dataset = run
    rows = []
    trainer_of(arrays, precision='bfloat16').train(model, dataset, n_epochs=3, on_log=rows.append)
    np.testing.assert_allclose([row['loss'] for row in rows], arrays['loss_before_step'][:3], rtol=1e-2)
    assert rows[0]['loss'] != pytest.approx(arrays['loss_before_step'][0], rel=1e-6)
    assert all(weight.dtype == torch.float32 for weight in model.parameters())


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_spoils_the_weights(run):
    arrays, model, dataset = run
    before = model.pos_emb.detach().clone()
    model.pos_emb.register_hook(lambda gradient: gradient * float('inf'))
    with pytest.raises(InputError, match='the gradient became inf at update 1, in the batch of the windows'):
        trainer_of(arrays).train(model, dataset)
    assert torch.equal(model.pos_emb, before)
